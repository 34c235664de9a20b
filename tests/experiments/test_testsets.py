import json
from pathlib import Path

import pytest

from datamodules.synthetic import DrawnSet, write_drawn
from experiments import testsets
from experiments.settings import SettingsError


@pytest.fixture(scope="module")
def celeba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("celeba")
    write_drawn(root, "celeba", DrawnSet(train=1, val=1, test=2, size=218))
    return root


def test_the_papers_sets_come_from_a_data_sets_test_photographs(
    celeba: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    words = ["--set=nasfe_tests", f"--from={celeba}", f"--to={tmp_path / 'sets'}"]
    assert testsets.main([*words, "--photographs=1", "--workers=1"]) == 0
    told = capsys.readouterr().out
    assert "clean 1, Test-B 52, Test-N 6, Test-L 24, Test-BN 52, Test-BNL 104" in told
    manifest = json.loads((tmp_path / "sets" / "manifest.json").read_text())
    assert len(manifest["files"]) == 239
    assert testsets.main([*words, "--photographs=1", "--workers=1"]) == 0
    with pytest.raises(SettingsError, match="name another folder"):
        testsets.main([*words, "--photographs=2", "--workers=1"])


def test_two_processes_write_what_one_does(celeba: Path, tmp_path: Path):
    for workers in (1, 2):
        words = ["--set=ispl_tests", "--layout=celeba", f"--from={celeba}"]
        testsets.main([*words, f"--to={tmp_path / str(workers)}", f"--workers={workers}"])
    one, two = ((tmp_path / name / "manifest.json").read_text() for name in "12")
    assert one == two


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--set=nasfe_tests"], "required: --from; --help lists the options"),
        (["--set=x", "--from=y"], "invalid choice: 'x'"),
        (["--set=nasfe_tests", "--from=nowhere"], "nowhere"),
        (["--set=ispl_tests", "--from=nowhere", "--photographs=-1"], "must not be negative"),
    ],
)
def test_a_wrong_setting_is_one_sentence(words: list[str], sentence: str):
    with pytest.raises(SettingsError, match=sentence):
        testsets.main(words)
