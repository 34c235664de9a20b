"""`show-data`: a contact sheet of what an experiment's network sees, without the network."""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from experiments.other_data import FRAGMENTS, at_root, fragment, fragments
from experiments.settings import (
    Request,
    SettingsError,
    find,
    load_chain,
    names,
    nearest,
    read,
    run_folder,
    runs_folder,
)

SHEET = "data.png"
OF_THE_DATA = ("data", "seed_everything")


@dataclass(frozen=True)
class Wanted:
    """Which data to show.

    Attributes:
        name: of the experiment or of the file in configs/data.
        settings: of the data alone, before the command line.
        folder: where the sheet goes.
    """

    name: str
    settings: dict[str, Any]
    folder: Path


def main(request: Request) -> int:
    """The exit code, after writing the sheet into the run's folder.

    Raises:
        SettingsError: if a setting is wrong, or the data are not there.
    """
    wanted = wanted_of(request)
    from experiments import data_sheet  # torch and all that, which a misspelled name need not

    parts = data_sheet.first_samples(wanted.settings, request.overrides)
    scale = f" at {request.scale} scale" if request.scale else ""
    path = wanted.folder / SHEET
    data_sheet.write(parts, f"{wanted.name}{scale}", path)
    sys.stdout.write(f"{path}\n")
    return 0


def wanted_of(request: Request) -> Wanted:
    """The data of an experiment, of a saved run or of a file that holds nothing but data.

    Raises:
        SettingsError: if there is no such file or scale, or the file tells of no data.
    """
    path = _file(request.name)
    told = read(path)
    if set(told) <= {"data", "scales"}:
        settings, name = fragment(path, request.scale), path.stem
        folder = run_folder(name, request.scale)
    else:
        merged = load_chain(request.name, request.scale)
        settings, name = merged.settings, merged.name
        kept = settings.get("run_dir")
        folder = Path(kept) if merged.saved and kept else run_folder(name, request.scale)
    if "data" not in settings:
        raise SettingsError(
            f"{path} tells of no data; name an experiment or a file of configs/data"
        )
    if request.root:
        settings = at_root(settings, request.root)
    if request.run:
        folder = runs_folder() / request.run
    return Wanted(name, {key: settings[key] for key in OF_THE_DATA if key in settings}, folder)


def _file(name_or_path: str) -> Path:
    if name_or_path in fragments() and name_or_path not in names():
        return FRAGMENTS / f"{name_or_path}.yaml"
    if not name_or_path.endswith((".yaml", ".yml")) and name_or_path not in names():
        known = [*names(), *fragments()]
        hint = nearest(name_or_path, known) or "; `make list` and configs/data show what there is"
        raise SettingsError(f"no experiment or data '{name_or_path}'{hint}")
    return find(name_or_path)
