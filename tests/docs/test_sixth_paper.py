"""The worked example of docs/sixth_paper, put into a copy of the tree and run there."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = ROOT / "docs" / "sixth_paper"
PACKAGES = ("ops", "lightning_modules", "datamodules", "experiments", "configs")
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*")


def files(folder: Path) -> set[Path]:
    """All files below a folder but caches and settings of tools, relative to it."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return {path for path in found if not any(p[0] in "._" for p in path.parts[:-1])} - {
        Path(".ruff.toml")
    }


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the packages with the example's files among them."""
    tree = tmp_path_factory.mktemp("tree")
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tree / package, ignore=LEFT_OUT)
    for helper in ("__init__.py", "conftest.py", "lightning_modules/tiny.py"):
        (tree / "tests" / helper).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / "tests" / helper, tree / "tests" / helper)
    shutil.copy(ROOT / "pyproject.toml", tree)
    shutil.copytree(EXAMPLE, tree, ignore=LEFT_OUT, dirs_exist_ok=True)
    return tree


def done(tree: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """What became of `python -m ...` in the copied tree."""
    told = {**os.environ, "RUNS": str(tree / "runs"), "OMP_NUM_THREADS": "1"}
    whole = [sys.executable, "-m", *command]
    return subprocess.run(whole, cwd=tree, env=told, capture_output=True, text=True, check=False)


def test_the_example_adds_files_and_changes_none() -> None:
    assert files(EXAMPLE)
    assert [path for path in files(EXAMPLE) if (ROOT / path).exists()] == []


def test_the_example_has_the_files_that_the_design_asks_for() -> None:
    kinds = {path.parts[0] for path in files(EXAMPLE)}
    assert kinds == {"ops", "lightning_modules", "configs", "experiments", "tests"}
    modules = {path for path in files(EXAMPLE) if path.suffix == ".py" and path.parts[0] != "tests"}
    tests = {Path("tests") / path.with_name(f"test_{path.name}") for path in modules}
    assert {path for path in files(EXAMPLE) if path.parts[0] == "tests"} == tests


def test_every_file_of_the_example_is_shown_on_its_page() -> None:
    page = (ROOT / "docs" / "sixth_paper.md").read_text(encoding="utf-8")
    shown = re.findall(r'^--8<-- "(.+)"$', page, re.MULTILINE)
    wanted = {f"docs/sixth_paper/{path.as_posix()}" for path in files(EXAMPLE)}
    assert set(shown) == wanted


def test_a_run_of_the_example_is_fitted_and_tested_by_the_suites_runner(tree: Path) -> None:
    run = done(tree, "experiments", "fit", "zero_dce_low_light", "--scale=smoke")
    assert run.returncode == 0, run.stderr
    folder = tree / "runs" / "zero_dce_low_light_smoke"
    assert (folder / "checkpoints" / "last.ckpt").is_file()
    assert "| zero_dce_low_light | smoke | output | 2 |" in (folder / "results.md").read_text()


def test_the_examples_own_tests_pass(tree: Path) -> None:
    own = [path.as_posix() for path in files(EXAMPLE) if path.parts[0] == "tests"]
    run = done(tree, "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", *own)
    assert run.returncode == 0, run.stdout
