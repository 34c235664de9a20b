import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from datamodules.images import read_image
from datamodules.testsets import (
    SUITES,
    Plan,
    Work,
    finish,
    outstanding,
    read_manifest,
    write_photograph,
)
from tests.datamodules.made import Made


def written(root: Path, plan: Plan, total: int = 3) -> dict:
    for work in outstanding(root, plan, Made(total)):
        write_photograph(work)
    finish(root)
    return read_manifest(root)


def test_a_hundred_photographs_give_the_papers_counts():
    counts = {name: 100 * len(versions) for name, versions in SUITES["nasfe_tests"]().items()}
    assert counts == {
        "Test-B": 5200,
        "Test-N": 600,
        "Test-L": 2400,
        "Test-BN": 5200,
        "Test-BNL": 10400,
    }
    assert len(SUITES["ispl_tests"]()) == 6


def test_every_file_is_in_the_manifest_with_its_checksum_and_how_it_was_made(tmp_path: Path):
    manifest = written(tmp_path / "sets", Plan("ispl_tests", photographs=2, seed=1))
    files = {record["file"]: record for record in manifest["files"]}
    there = {path.relative_to(tmp_path / "sets").as_posix() for path in tmp_path.rglob("*.png")}
    assert there == set(files)
    assert len(files) == 2 * 7
    for file, record in files.items():
        digest = hashlib.sha256((tmp_path / "sets" / file).read_bytes()).hexdigest()
        assert digest == record["sha256"]
        assert ("steps" in record) == (not file.startswith("clean/"))
    blurred = next(record for file, record in files.items() if file.startswith("blur/"))
    assert blurred["steps"][0]["kind"] == "blur"
    assert {path.name for path in (tmp_path / "sets").iterdir() if path.is_file()} == {
        "manifest.json"
    }


def test_the_clean_file_is_the_photograph_itself(tmp_path: Path):
    manifest = written(tmp_path / "sets", Plan("ispl_tests", photographs=0), total=1)
    clean = next(record for record in manifest["files"] if "steps" not in record)
    assert np.array_equal(read_image(tmp_path / "sets" / clean["file"]), Made(1).picture(0))


def test_a_set_begun_and_left_goes_on_to_the_same_bytes(tmp_path: Path):
    plan = Plan("ispl_tests", photographs=3, seed=2)
    whole = written(tmp_path / "whole", plan)
    write_photograph(outstanding(tmp_path / "left", plan, Made(3))[1])
    with pytest.raises(FileNotFoundError, match="begun but not complete"):
        read_manifest(tmp_path / "left")
    assert len(outstanding(tmp_path / "left", plan, Made(3))) == 2
    assert written(tmp_path / "left", plan) == whole


def test_a_finished_set_is_left_as_it_is(tmp_path: Path):
    plan = Plan("ispl_tests", photographs=1)
    manifest = written(tmp_path / "sets", plan)
    assert outstanding(tmp_path / "sets", plan, Made(3)) == []
    assert sum(finish(tmp_path / "sets").values()) == len(manifest["files"])


def test_a_lost_file_is_written_again_to_the_same_bytes(tmp_path: Path):
    plan = Plan("ispl_tests", photographs=3)
    whole = written(tmp_path / "sets", plan)
    lost = tmp_path / "sets" / whole["files"][3]["file"]
    before = lost.read_bytes()
    lost.unlink()
    assert len(outstanding(tmp_path / "sets", plan, Made(3))) == 1
    assert written(tmp_path / "sets", plan) == whole
    assert lost.read_bytes() == before


def test_a_kill_between_the_manifest_and_the_end_does_no_harm(tmp_path: Path):
    whole = written(tmp_path / "sets", Plan("ispl_tests", photographs=1))
    (tmp_path / "sets" / "begun.json").write_text(json.dumps(whole))
    assert outstanding(tmp_path / "sets", Plan("ispl_tests", photographs=1), Made(3)) == []
    assert sum(finish(tmp_path / "sets").values()) == len(whole["files"])
    assert not (tmp_path / "sets" / "begun.json").exists()


def test_pictures_of_another_size_or_set_are_not_mixed_in(tmp_path: Path):
    written(tmp_path / "sets", Plan("ispl_tests", photographs=1))
    for other in (Made(3, height=20), Made(3, first=5)):
        with pytest.raises(ValueError, match="of other photographs, or of another size"):
            outstanding(tmp_path / "sets", Plan("ispl_tests", photographs=1), other)


def test_other_photographs_do_not_change_the_degradation_of_one(tmp_path: Path):
    few = written(tmp_path / "few", Plan("ispl_tests", photographs=0), total=1)
    many = written(tmp_path / "many", Plan("ispl_tests", photographs=0), total=3)
    digests = {record["file"]: record["sha256"] for record in many["files"]}
    assert {r["file"]: r["sha256"] for r in few["files"]}.items() <= digests.items()


def test_no_two_files_have_the_same_draws(tmp_path: Path):
    manifest = written(tmp_path / "sets", Plan("ispl_tests", photographs=0), total=3)
    steps = [json.dumps(r["steps"]) for r in manifest["files"] if "full/" in r["file"]]
    assert len(set(steps)) == len(steps) == 3


def test_another_seed_or_folder_is_not_mixed_in(tmp_path: Path):
    written(tmp_path / "sets", Plan("ispl_tests", photographs=1))
    with pytest.raises(ValueError, match="another size, seed or suite; name another folder"):
        outstanding(tmp_path / "sets", Plan("ispl_tests", photographs=1, seed=9), Made(3))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "holiday.jpg").touch()
    with pytest.raises(ValueError, match="no test sets; name a new or empty folder"):
        outstanding(tmp_path / "mine", Plan("ispl_tests", photographs=1), Made(3))


def test_wrong_plans_and_missing_or_foreign_sets_are_told(tmp_path: Path):
    with pytest.raises(ValueError, match="no test sets x; there are nasfe_tests, ispl_tests"):
        Plan("x")
    with pytest.raises(ValueError, match="must not be negative, got -1 and 0"):
        Plan("ispl_tests", photographs=-1)
    with pytest.raises(ValueError, match="100 test photographs are wanted, got 3"):
        Plan("ispl_tests").chosen(3)
    with pytest.raises(FileNotFoundError, match=re.escape("make prepare SET=nasfe_tests")):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text("[]")
    with pytest.raises(ValueError, match="no manifest of test sets"):
        read_manifest(tmp_path)
    (tmp_path / "manifest.json").write_text('{"format": 99, "files": []}')
    with pytest.raises(ValueError, match="has format 99, this version reads 1"):
        read_manifest(tmp_path)


SCRIPT = """
import sys
from pathlib import Path
from datamodules.testsets import Plan, Work, write_photograph
from tests.datamodules.made import Made
for suite in ("ispl_tests", "nasfe_tests"):
    write_photograph(Work(Path(sys.argv[1]) / suite, Plan(suite, 0), Made(1), 0))
"""
PLAIN = {
    "OPENCV_CPU_DISABLE": "AVX512-SKX,AVX2,FP16,AVX,SSE4.2,SSE4.1",
    "NPY_DISABLE_CPU_FEATURES": "X86_V3 X86_V4 AVX512_ICL AVX512_SPR",
}


def digests(root: Path) -> dict[str, str]:
    files = sorted(root.rglob("*.png"))
    return {
        p.relative_to(root).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest() for p in files
    }


def test_other_vector_instructions_give_the_same_bytes(tmp_path: Path):
    for name, plain in (("fast", {}), ("plain", PLAIN)):
        done = subprocess.run(
            [sys.executable, "-W", "ignore", "-c", SCRIPT, str(tmp_path / name)],
            env=os.environ | plain,
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        assert "unknown CPU feature" not in done.stderr
    fast, plain = digests(tmp_path / "fast"), digests(tmp_path / "plain")
    assert len(fast) == 7 + 1 + 238
    assert fast == plain


def test_the_bytes_are_those_of_the_first_day(tmp_path: Path):
    golden = Path(__file__).parents[1] / "golden" / "degradations" / "testsets.json"
    root = tmp_path / "sets"
    for suite in SUITES:
        write_photograph(Work(root / suite, Plan(suite, 0), Made(1), 0))
    pixels = {
        path.relative_to(root).as_posix(): hashlib.sha256(read_image(path).tobytes()).hexdigest()[
            :16
        ]
        for path in sorted(root.rglob("*.png"))
    }
    told = hashlib.sha256(json.dumps(pixels).encode()).hexdigest()
    if os.environ.get("VISAGIST_WRITE_GOLDEN"):
        golden.write_text(json.dumps({"pixels of all test sets of one face": told}) + "\n")
    assert json.loads(golden.read_text()) == {"pixels of all test sets of one face": told}
