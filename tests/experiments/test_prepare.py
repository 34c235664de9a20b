import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from datamodules.folder import Folder, Shares
from datamodules.images import read_image
from datamodules.layouts import LAYOUTS, safe_name
from datamodules.loading import Loading
from experiments.prepare import SETS, main
from tests.datamodules.broken import write_broken, write_odd


@pytest.fixture
def photographs(faces: Path, tmp_path: Path) -> Path:
    """Two shrunk photographs each of three people, and one file each of two faults."""
    root = tmp_path / "photographs"
    for person in ("001", "002", "003"):
        for folder, name in (("neutral_front", f"{person}_03"), ("smiling_front", f"{person}_08")):
            image = cv2.imread(str(faces / "london" / folder / f"{name}.jpg"))
            (root / folder).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(root / folder / f"{name}.png"), cv2.resize(image, (400, 400)))
    return root


@pytest.fixture
def options(faces: Path, tmp_path: Path, photographs: Path) -> list[str]:
    return [
        "--set=ffhqr",
        f"--from={photographs}",
        f"--to={tmp_path / 'out'}",
        f"--detector={faces / 'assets' / 'yunet_n_640_640.onnx'}",
        "--size=64",
        "--workers=1",
        r"--group-pattern=^(\d+)",
        "--test=0.3",
        "--val=0.3",
    ]


def pictures(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.png"))}


def stamps(root: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in root.rglob("*")}


def test_photographs_become_pairs_with_people_apart(options, tmp_path, capsys):
    assert main(options) == 0
    out = tmp_path / "out"
    made = pictures(out)
    assert len(made) == 12
    for name in (n for n in made if n.startswith("FFHQR")):
        raw = read_image(out / name.replace("FFHQR", "images1024x1024"))
        retouched = read_image(out / name)
        assert raw.shape == (64, 64, 3)
        change = np.abs(raw.astype(int) - retouched)
        assert 0 < change.mean() < 2
    manifest = json.loads((out / "prepared.json").read_text())
    thousands = {p["group"]: set() for p in manifest["photographs"]}
    for photo in manifest["photographs"]:
        thousands[photo["group"]].update(number // 1000 for number in photo["numbers"])
    assert sorted(map(tuple, thousands.values())) == [(0,), (56,), (63,)]
    assert "6 pairs of 3 people in" in capsys.readouterr().err


def test_a_second_call_touches_nothing(options, tmp_path):
    assert main(options) == 0
    before = stamps(tmp_path / "out")
    assert main(options) == 0
    assert stamps(tmp_path / "out") == before


def test_two_processes_write_what_one_writes(options, tmp_path):
    assert main(options) == 0
    one = pictures(tmp_path / "out")
    shutil.rmtree(tmp_path / "out")
    assert main([*options, "--workers=2"]) == 0
    assert pictures(tmp_path / "out") == one


def test_lost_pictures_are_written_again_the_same(options, tmp_path):
    assert main(options) == 0
    whole = pictures(tmp_path / "out")
    (tmp_path / "out" / next(iter(whole))).unlink()
    assert main(options) == 0
    assert pictures(tmp_path / "out") == whole


def test_photographs_added_later_leave_the_others_as_they_are(options, photographs, tmp_path):
    late = tmp_path / "004_03.png"
    (photographs / "smiling_front" / "003_08.png").rename(late)
    assert main(options) == 0
    before = pictures(tmp_path / "out")
    late.rename(photographs / "smiling_front" / "003_08.png")
    assert main(options) == 0
    after = pictures(tmp_path / "out")
    assert len(after) == len(before) + 2
    assert before.items() <= after.items()


def test_a_replaced_photograph_is_made_anew_under_its_number(options, photographs, tmp_path):
    assert main(options) == 0
    before = pictures(tmp_path / "out")
    path = photographs / "neutral_front" / "001_03.png"
    cv2.imwrite(str(path), cv2.imread(str(path))[:, ::-1])
    assert main(options) == 0
    after = pictures(tmp_path / "out")
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 2


def test_faulty_files_are_listed_with_their_reason_and_the_code_is_4(
    options, photographs, tmp_path, capsys
):
    (photographs / "001_broken.jpg").write_bytes(b"\xff\xd8\xff nothing more")
    cv2.imwrite(str(photographs / "001_wall.png"), np.full((64, 64, 3), 200, np.uint8))
    shutil.copy(photographs / "neutral_front" / "002_03.png", photographs / "002_copy.png")
    assert main(options) == 4
    with (tmp_path / "out" / "prepared_report.csv").open() as file:
        rows = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert rows["001_wall.png"] == "no face"
    assert rows["001_broken.jpg"].startswith("unreadable")
    assert "same bytes as" in {**rows, "": ""}.get(
        "002_copy.png", rows.get("neutral_front/002_03.png", "")
    )
    assert "3 photographs skipped" in capsys.readouterr().err
    assert len(pictures(tmp_path / "out")) == 12


def test_other_settings_on_the_same_folder_are_refused(options, capsys):
    assert main([*options, "--limit=1"]) == 0
    assert main([*options, "--limit=1", "--size=96"]) == 2
    assert "was prepared with size=64, got 96" in capsys.readouterr().err


def test_every_layout_there_is_can_be_asked_for():
    assert tuple(sorted(LAYOUTS)) == SETS


@pytest.mark.parametrize("name", sorted({*SETS} - {"ffhqr"}))
def test_every_layout_is_prepared_and_a_second_call_touches_nothing(name, options, tmp_path):
    assert main([*options, f"--set={name}"]) == 0
    layout, out = LAYOUTS[name], tmp_path / "out"
    manifest = json.loads((out / "prepared.json").read_text())
    assert manifest["settings"]["set"] == name
    found = [path for path in out.rglob("*") if path.suffix in (".png", ".jpg")]
    assert len(found) == {"facerenov": 10, "makeup": 24}.get(name, 6)
    assert {read_image(path).shape[:2] for path in found} == {layout.shape(64)}
    before = stamps(out)
    assert main([*options, f"--set={name}"]) == 0
    assert stamps(out) == before


def test_celeba_has_one_size_so_that_no_other_is_refused(options):
    assert main([*options, "--set=celeba", "--limit=1"]) == 0
    assert main([*options, "--set=celeba", "--limit=1", "--size=96"]) == 0


def test_a_folder_of_broken_files_gives_the_good_ones_and_says_what_is_wrong(tmp_path, capsys):
    broken, good = write_broken(tmp_path / "in"), write_odd(tmp_path / "in")
    out = tmp_path / "out"
    given = [f"--from={tmp_path / 'in'}", f"--to={out}", "--workers=1"]
    assert main([*given, "--set=folder", "--faces=none"]) == 4
    with (out / "prepared_report.csv").open(newline="", errors="surrogateescape") as file:
        rows = {row["name"]: row["reason"] for row in csv.DictReader(file)}
    assert rows.keys() == broken.keys()
    assert [name for name, reason in broken.items() if reason not in rows[name]] == []
    assert len(broken) >= 20
    assert f"{len(broken)} photographs skipped" in capsys.readouterr().err
    for name, expected in good.items():
        np.testing.assert_array_equal(read_image(out / f"{safe_name(name)}.png"), expected)
    data = Folder(str(out), 16, shares=Shares(0.2, 0.2), loading=Loading(workers=0))
    data.prepare_data()
    data.setup("fit")
    loaded = {data.photographs[s].name(i) for s in LAYOUTS["ffhqr"].numbers for i in range(3)}
    assert loaded < set(map(safe_name, good))
    assert sum(map(len, data.photographs.values())) == len(good)


def test_a_file_that_can_be_opened_again_is_taken(tmp_path, monkeypatch):
    write_odd(tmp_path / "in")
    given = [f"--from={tmp_path / 'in'}", f"--to={tmp_path / 'out'}", "--workers=1"]
    given += ["--set=folder", "--faces=none"]
    locked, read = tmp_path / "in" / "LOUD.JPG", Path.read_bytes

    def refused(path: Path) -> bytes:
        if path == locked:
            raise PermissionError(13, "Permission denied")
        return read(path)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "read_bytes", refused)
        assert main(given) == 4
        before = stamps(tmp_path / "out")
        assert main(given) == 4
        assert stamps(tmp_path / "out") == before
    assert main(given) == 0
    assert (tmp_path / "out" / "LOUD.JPG.png").exists()


def test_shards_are_made_by_the_packer(tmp_path, monkeypatch):
    asked = []
    packer = SimpleNamespace(main=lambda *words: asked.append(words) or 7)
    monkeypatch.setitem(sys.modules, "experiments.pack", packer)
    monkeypatch.setattr("experiments.pack", packer, raising=False)
    (tmp_path / "in").mkdir()
    given = [f"--from={tmp_path / 'in'}", f"--to={tmp_path / 'out'}", "--set=celeba"]
    assert main([*given, "--format=webdataset", "--per-shard=5", "--seed=3"]) == 7
    assert asked == [("celeba", tmp_path / "in", tmp_path / "out", 5, 3)]


def test_a_killed_run_goes_on_to_the_same_end(options, tmp_path):
    words = [
        sys.executable,
        "-c",
        "import sys; from experiments.prepare import main; main(sys.argv[1:])",
    ]
    out = tmp_path / "out"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    run = subprocess.Popen([*words, *options], env=environment, stderr=subprocess.DEVNULL)
    while run.poll() is None and len(pictures(out)) < 3:
        time.sleep(0.01)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert main(options) == 0
    resumed = pictures(out)
    assert not list(out.rglob("*.tmp"))
    shutil.rmtree(out)
    assert main(options) == 0
    assert pictures(out) == resumed


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("--from=/no/such/folder", "is no folder"),
        ("--size=8", "--size must be at least 32, got 8"),
        ("--size=many", "invalid int value: 'many'"),
        ("--workers=0", "--workers must be at least 1, got 0"),
        ("--limit=0", "--limit must be > 0, got 0"),
        ("--min-eyes=-3", "--min-eyes must be positive"),
        ("--test=0.9", "must leave a share to train on"),
        ("--group-pattern=(", "is no regular expression"),
        ("--group-pattern=abc", "has no group"),
        ("--set=imagenet", "invalid choice: 'imagenet'"),
        ("--faces=none", "goes with --set=folder or makeup only, got --set=ffhqr"),
        ("--sise=64", "unrecognized arguments: --sise=64"),
        ("--format=webdataset", "--val=0.2 is for photographs"),
    ],
)
def test_wrong_settings_are_one_line_and_code_2(change, words, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    given = [f"--from={tmp_path / 'in'}", f"--to={tmp_path / 'out'}", "--val=0.2", change]
    assert main(given) == 2
    message = capsys.readouterr().err
    assert words in message
    assert message.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_without_a_detector_the_message_says_where_to_get_one(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("VISAGIST_YUNET", raising=False)
    (tmp_path / "in").mkdir()
    assert main([f"--from={tmp_path / 'in'}", f"--to={tmp_path / 'out'}"]) == 2
    message = capsys.readouterr().err
    assert "libfacedetection.train" in message
    assert message.count("\n") == 1


def test_the_output_may_not_lie_inside_the_input(tmp_path, capsys):
    assert main([f"--from={tmp_path}", f"--to={tmp_path / 'out'}"]) == 2
    assert "lies inside" in capsys.readouterr().err


def test_help_loads_no_heavy_package():
    code = (
        "import sys; from experiments.prepare import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('torch', 'cv2', 'numpy') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.rstrip().endswith("[]")
    assert "--group-pattern" in done.stdout
