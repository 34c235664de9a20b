import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("ops", "lightning_modules", "datamodules", "experiments", "benchmarks")
# Tests of more than one module.
STANDING_ALONE = {
    "tests/docs/test_sixth_paper.py",
    "tests/test_style.py",
    "tests/datamodules/test_waiting.py",
    "tests/datamodules/degradations/test_all.py",
    "tests/experiments/test_data_settings.py",
    "tests/experiments/test_restore_killed.py",
    "tests/experiments/test_smoke.py",
}
LONGEST_FUNCTION, LONGEST_FILE, MOST_ARGUMENTS = 40, 300, 8

FILES = sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def functions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return [node for node in ast.walk(tree) if isinstance(node, kinds)]


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of the function from `def` on, without its docstring."""
    first, last = function.lineno, function.end_lineno or function.lineno
    docstring = function.body[0] if ast.get_docstring(function) is not None else None
    spared = (docstring.end_lineno or 0) - docstring.lineno + 1 if docstring else 0
    return last - first + 1 - spared


def arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    told = function.args
    names = [argument.arg for argument in [*told.posonlyargs, *told.args, *told.kwonlyargs]]
    return len([name for name in names if name not in ("self", "cls")])


def test_there_are_files_to_look_at():
    assert len(FILES) > 10


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name_of)
def test_no_function_is_too_long(path: Path):
    long = {function.name: length(function) for function in functions(path)}
    assert {name: lines for name, lines in long.items() if lines > LONGEST_FUNCTION} == {}


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_no_function_takes_too_many_arguments(path: Path):
    many = {function.name: arguments(function) for function in functions(path)}
    assert {name: count for name, count in many.items() if count > MOST_ARGUMENTS} == {}


@pytest.mark.parametrize("path", [*FILES, *TESTS], ids=name_of)
def test_no_file_is_too_long(path: Path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= LONGEST_FILE


def test_every_module_has_its_tests_and_every_test_its_module():
    modules = [path for path in FILES if path.name != "__init__.py"]
    private = [path for path in modules if path.name.startswith("_") and path.name != "__main__.py"]
    optional = {path for path in modules if path.relative_to(ROOT).parts[0] == "benchmarks"}
    there = {name_of(path) for path in TESTS} - STANDING_ALONE
    known = {mirror_of(name_of(path)) for path in modules}
    wanted = {mirror_of(name_of(path)) for path in {*modules} - {*private} - optional}
    assert {"missing": sorted(wanted - there), "stray": sorted(there - known)} == {
        "missing": [],
        "stray": [],
    }


def mirror_of(module: str) -> str:
    """tests/a/test_b.py for a/b.py; a leading or trailing underscore is not part of the name."""
    folder, _, file = module.rpartition("/")
    return f"tests/{folder}/test_{file.removesuffix('.py').strip('_')}.py"
