"""The network of a finished run, and what it sees of a face, from what its checkpoint tells."""

import copy
from collections.abc import Mapping
from pathlib import Path
from pydoc import locate
from types import MappingProxyType
from typing import Any, TypeVar

import yaml
from torch import Tensor

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it
from datamodules.faces import View, celeba_view, ffhq_view
from experiments.cli import SettingsParser, told_as_settings
from experiments.messages import one_line, plain
from experiments.settings import SettingsError
from lightning_modules.base import Training
from lightning_modules.checkpoints import CheckpointError, read_checkpoint
from lightning_modules.run import Run

Method = TypeVar("Method", bound=Run)


def checkpoint_file(path: Path) -> Path:
    """The checkpoint that `path` means: a file, or the last one of a run's folder.

    Raises:
        SettingsError: if there is none.
    """
    found = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not found.is_file():
        raise SettingsError(f"no checkpoint at {found}: name a .ckpt file or a run's folder")
    return found


def trained_network(path: Path) -> Training:
    """The method of a checkpoint with its trained weights, in evaluation mode, on the CPU.

    Its `settings` are those of the run, as YAML.

    Args:
        path: of a checkpoint or of a run's folder.

    Raises:
        SettingsError: if there is no such checkpoint, it is of another programme, what it was
            built from is missing here, or its method does not turn pictures into pictures.
    """
    method, state = untrained(path)
    if not isinstance(method, Training):
        raise SettingsError(
            f"{path} is of {type(method).__name__}, which does not turn pictures into pictures"
        )
    return with_weights(method, state)


def untrained(path: Path) -> tuple[Run, dict[str, Any]]:
    """The method of a checkpoint with fresh weights, and what the checkpoint holds.

    Args:
        path: of a checkpoint or of a run's folder.

    Raises:
        SettingsError: if there is no such checkpoint, it is of another programme, or what it was
            built from is missing here.
    """
    file = checkpoint_file(path)
    try:
        state = read_checkpoint(file)
    except CheckpointError as error:
        raise SettingsError(plain(str(error))) from error
    method = built(_settings(state, file), state["state_dict"])
    state["visagist"]["path"] = str(file)  # for what may be said of it later
    return method, state


def with_weights(method: Method, state: dict[str, Any]) -> Method:
    """The method itself with a checkpoint's weights, in evaluation mode; nothing takes gradients.

    Raises:
        SettingsError: if the checkpoint is of another method or other networks.
    """
    try:
        method.on_load_checkpoint(state)
    except CheckpointError as error:
        raise SettingsError(plain(str(error))) from error
    method.load_state_dict(state["state_dict"])
    method.settings = state["visagist"]["settings"]
    return method.eval().requires_grad_(False)


def _settings(state: dict[str, Any], file: Path) -> dict[str, Any]:
    settings = yaml.safe_load(state.get("visagist", {}).get("settings") or "null")
    if not isinstance(settings, dict) or "model" not in settings:
        raise SettingsError(f"{file} does not tell what it was trained by; take one of this suite")
    return settings


def built(settings: Mapping[str, Any], state: Mapping[str, Tensor] = MappingProxyType({})) -> Run:
    """The method that a run's settings describe, with fresh weights.

    Args:
        settings: of the run.
        state: that it will get; where it tells how the network is put together (`Run.plan`), that
            counts, not the file that the settings name.

    Raises:
        SettingsError: if the settings do not fit the code at hand, or name a missing file.
    """
    parser = SettingsParser(allow_abbrev=False)
    parser.add_lightning_class_args(Run, "model", subclass_mode=True)
    given = {"model": _by_plan(settings["model"], state)}
    if "max_batches" in settings:  # a run's own key, linked to the method's
        own = given["model"].get("init_args", {}) | {"max_batches": settings["max_batches"]}
        given["model"] = given["model"] | {"init_args": own}
    try:
        config = parser.parse_object(given)
    except SettingsError as error:
        known = [action.dest for action in parser._actions]
        raise SettingsError(one_line(str(error), given, known)) from None
    with told_as_settings():
        method = parser.instantiate_classes(config).model
    assert isinstance(method, Run)
    method.settings = yaml.safe_dump(dict(settings))
    return method


def _by_plan(model: Mapping[str, Any], state: Mapping[str, Tensor]) -> dict[str, Any]:
    """The settings of a method, its plan the one that `state` tells.

    Raises:
        SettingsError: if the two do not fit.
    """
    plan = getattr(locate(model["class_path"]), "plan", "")
    told = copy.deepcopy(dict(model))
    if plan not in state:
        return told
    *parts, last = plan.split(".")
    inner = told
    try:
        for part in parts:
            inner = inner["init_args"][part]
        inner["init_args"][last] = bytes(state[plan].tolist()).decode()
    except (KeyError, TypeError, ValueError) as error:
        raise SettingsError(f"the weights' {last} does not fit the settings: {error}") from error
    return told


def view_of(method: Run, size: int | None = None) -> View:
    """What a trained network sees of a face, by its run's settings.

    Args:
        method: with the settings of its run.
        size: another height of the crops than in training.

    Raises:
        SettingsError: if the settings do not tell it.
    """
    data = (yaml.safe_load(method.settings) or {}).get("data") or {}
    inner = data.get("init_args") or {}
    while isinstance(inner.get("train"), dict):  # a set inside another, or beside one to test on
        data = inner["train"]
        inner = data.get("init_args") or {}
    if str(data.get("class_path")).endswith(".CelebA"):
        height, width = inner.get("crop") or (218, 178)
        view = celeba_view(height, width)
    elif size or isinstance(inner.get("size"), int):
        return ffhq_view(size or inner["size"])
    else:
        raise SettingsError(
            "the run's settings do not tell the size of its faces (data.init_args.size); "
            "restore and demo take it by --size"
        )
    if size is None:
        return view
    return View((size, round(size * width / height)), view.quad, view.share)
