import sys

import pytest

from experiments.settings import SettingsError
from experiments.tracking import need_wandb, need_wandb_key


def test_a_missing_package_is_told_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(SettingsError, match=r"wandb is not installed: .* or set --wandb=off"):
        need_wandb("set --wandb=off")


def test_a_missing_key_is_told_with_what_to_do_instead(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("wandb")
    monkeypatch.setattr("wandb.login", lambda **_: False)
    with pytest.raises(SettingsError, match=r"no API key: run `wandb login`, or set --wandb=off"):
        need_wandb_key("set --wandb=off")
    monkeypatch.setattr("wandb.login", lambda **_: True)
    need_wandb_key("set --wandb=off")
