"""Other data for an experiment: elsewhere on the disk, or another set for its tests."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from experiments.settings import CONFIGS, SettingsError, merge, nearest, read

FRAGMENTS = CONFIGS / "data"
ON = "on_"  # how a folder for a run's test on other data begins
Settings = dict[str, Any]


def fragments() -> list[str]:
    """The names of the files that hold nothing but data."""
    return sorted(path.stem for path in FRAGMENTS.glob("*.yaml"))


def fragment(path: Path, scale: str | None) -> Settings:
    """The data that a file which tells of nothing else describes at a scale.

    Raises:
        SettingsError: if the file cannot be read, or has no such scale.
    """
    told = read(path)
    settings: Settings = {"data": told.get("data") or {}}
    if scale is None:
        return settings
    scales = told.get("scales") or {}
    if scale not in scales:
        there = f"there are {', '.join(scales)}" if scales else "it has none"
        raise SettingsError(f"{path} has no scale '{scale}'{nearest(scale, scales)} ({there})")
    return merge(settings, scales[scale] or {})


def scored_on(settings: Settings, name: str) -> Settings:
    """A run's settings with the data of configs/data/`name`.yaml in place of its own.

    They lie where the run's own lie if they are of the same kind, and a run that drew its data
    draws these.

    Args:
        settings: of a run, merged.
        name: of the file.

    Raises:
        SettingsError: if there is no such file.
    """
    if name not in fragments():
        raise SettingsError(f"no data '{name}'{nearest(name, fragments())}")
    scale = settings.get("scale")
    other = fragment(FRAGMENTS / f"{name}.yaml", scale if scale != "published" else None)
    kinds = {_kind(place): place for place in _places(settings.get("data"))}
    for place in _places(other["data"]):
        own = kinds.get(_kind(place))
        if own is not None:
            _put(place, own["init_args"]["root"], own["init_args"].get("draw"))
    return settings | {"data": other["data"], "run_dir": f"{settings['run_dir']}/{ON}{name}"}


def at_root(settings: Settings, root: str) -> Settings:
    """Settings whose data lie under `root`, as they are, with none drawn.

    Raises:
        SettingsError: if the data have no such setting, or lie under several roots.
    """
    moved = copy.deepcopy(settings)
    places = list(_places(moved.get("data")))
    roots = sorted({place["init_args"]["root"] for place in places})
    if len(roots) != 1:
        found = ", ".join(roots) or "none"
        raise SettingsError(
            f"--root (DATA_ROOT) moves data that lie under one root; here there are: {found}; "
            "name each by its own setting, see `show`"
        )
    for place in places:
        _put(place, root, None)
    return moved


def _put(place: Settings, root: str, draw: Any) -> None:
    place["init_args"]["root"] = root
    if "draw" in place["init_args"]:
        place["init_args"]["draw"] = copy.deepcopy(draw)


def _kind(place: Settings) -> str:
    return str(place.get("class_path"))


def _places(data: Any) -> Iterator[Settings]:
    """The settings of each class that has a root, however deep."""
    if not isinstance(data, dict):
        return
    arguments = data.get("init_args")
    if isinstance(arguments, dict) and "root" in arguments:
        yield data
    for value in data.values():
        yield from _places(value)
