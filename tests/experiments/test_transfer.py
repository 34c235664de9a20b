from pathlib import Path

import pytest

from datamodules.clips import Clip
from experiments.__main__ import main
from tests.experiments.carried import SIDE, small_run, write_clip, write_photograph

NEEDED = ["--ckpt=run", "--face=face.png", "--in=clip.mp4", "--out=out.mp4"]


def test_a_face_is_transferred_onto_a_clip(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = small_run("inversion_iterative_guide_init", tmp_path)
    words = [
        f"--ckpt={run}",
        f"--face={write_photograph(tmp_path / 'face.png')}",
        f"--in={write_clip(tmp_path / 'clip.mp4')}",
        f"--out={tmp_path / 'new' / 'out.mp4'}",
    ]
    capsys.readouterr()
    assert main(["transfer", *words, "--aligned", "--every=2", "--together=2"]) == 0
    assert capsys.readouterr().out.startswith(f"3 frames in {tmp_path / 'new' / 'out.mp4'}; ")
    clip = Clip(tmp_path / "new" / "out.mp4")
    assert (clip.size, clip.rate, len(list(clip.frames()))) == ((SIDE, 2 * SIDE), 15, 3)
    (tmp_path / "broken.mp4").write_bytes(b"words")
    assert main(["transfer", *words, "--aligned", f"--in={tmp_path / 'broken.mp4'}"]) == 2
    assert "broken.mp4: cannot be decoded as a clip" in capsys.readouterr().err
    assert main(["transfer", *words, "--aligned", f"--out={tmp_path / 'out.gif'}"]) == 2
    assert "a clip is written as .mp4" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (NEEDED[:3], "the following arguments are required: --out"),
        ([*NEEDED, "--every=0"], "--every must be 1 or more, got 0"),
        ([*NEEDED, "--together=0"], "--together must be 1 or more, got 0"),
        ([*NEEDED, "--rate=0"], "--rate must be above 0, got 0"),
        ([*NEEDED, "--in=out.mp4"], "--out=out.mp4 would be written over"),
        ([*NEEDED, "--aligned"], "no checkpoint at run"),
        (NEEDED, "or say --aligned if the pictures are crops"),
    ],
)
def test_wrong_settings_are_told_in_a_line(
    words: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("VISAGIST_YUNET", raising=False)
    assert main(["transfer", *words]) == 2
    assert reason in capsys.readouterr().err
