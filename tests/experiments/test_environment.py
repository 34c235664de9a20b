import json
from pathlib import Path

import pytest

from experiments import environment


def test_a_run_knows_its_commit_versions_and_machine(tmp_path: Path):
    path = tmp_path / "environment.json"
    environment.write(path)
    told = json.loads(path.read_text())
    assert told["packages"]["torch"].startswith("2.")
    assert told["cpu_cores"] >= 1
    assert told.keys() >= {"commit", "uncommitted_changes", "python", "platform", "tuned"}


def test_a_run_is_tuned_only_with_every_setting(monkeypatch: pytest.MonkeyPatch):
    for name in environment.TUNING:
        monkeypatch.setenv(name, "0")
    assert environment.describe()["tuned"] is True
    monkeypatch.delenv(environment.TUNING[0])
    assert environment.describe()["tuned"] is False


def test_a_folder_without_git_has_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    told = environment.describe()
    assert told["commit"] is None
    assert told["uncommitted_changes"] is None
