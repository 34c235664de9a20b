"""Whether a checkpoint is of the run that would go on from it."""

from collections.abc import Mapping
from typing import Any

import torch
import yaml

from lightning_modules.checkpoints import CheckpointError

FORMAT = 1  # of what a training adds to a checkpoint; larger numbers are of a newer version


def check_origin(state: Mapping[str, Any], method: str) -> None:
    """Whether the suite's own part of a checkpoint can be used by `method`.

    Raises:
        CheckpointError: if it is from another method or a newer version.
    """
    path = state.get("path", "the checkpoint")
    if state["format"] > FORMAT:
        raise CheckpointError(
            f"{path} has format {state['format']} and this version reads up to {FORMAT}: "
            "update the suite"
        )
    if state["method"] != method:
        raise CheckpointError(f"{path} is of {state['method']}, not of {method}")


def check_plan(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], name: str, path: str
) -> None:
    """Whether the weights in the file `path` are of a network made by the same plan.

    Weights of the same shapes may be put together in more than one way.

    Args:
        ours: the state of the network at hand.
        theirs: that in the file.
        name: of the buffer that holds the plan; nothing is checked without it.
        path: of the file.

    Raises:
        CheckpointError: if the plan is another, or the file tells of none.
    """
    if name not in ours:
        return
    plan = name.split(".")[-1]
    if name not in theirs:
        raise CheckpointError(
            f"{path} does not tell its {plan}: train again, it is of an old version"
        )
    if not torch.equal(ours[name].cpu(), theirs[name].cpu()):
        raise CheckpointError(
            f"{path} was trained with another {plan} than the settings now name: "
            "give back the file that it was trained with"
        )


def check_shapes(
    ours: Mapping[str, torch.Tensor], theirs: Mapping[str, torch.Tensor], path: str
) -> None:
    """Whether the weights in the file `path` fit a network.

    Raises:
        CheckpointError: naming the first that does not.
    """
    for name in sorted(ours.keys() | theirs.keys()):
        here, there = (tuple(s[name].shape) if name in s else None for s in (ours, theirs))
        if here != there:
            raise CheckpointError(
                f"{path} does not fit these settings: {name} is {there} there and {here} "
                "here; train with the settings of its config.yaml"
            )


def changed_settings(before: str, now: str) -> list[str]:
    """What differs between two runs' settings (YAML), as `key: old -> new`, but for their folder.

    Empty where one of them has none.
    """
    if not before or not now:
        return []
    old, new = (_flat(yaml.safe_load(text)) for text in (before, now))
    return [
        f"{key}: {old.get(key)} -> {new.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key) and key != "run_dir"
    ]


def _flat(settings: object, path: str = "") -> dict[str, object]:
    if not isinstance(settings, Mapping):
        return {path: settings}
    parts = [_flat(value, f"{path}.{key}" if path else key) for key, value in settings.items()]
    return {key: value for part in parts for key, value in part.items()}
