"""Settings: which files make a run, merged in one order, before anything heavy is imported."""

import difflib
import os
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omegaconf import DictConfig, ListConfig

ROOT = Path(__file__).resolve().parents[1]
EXPERIMENTS = ROOT / "experiments"
CONFIGS = ROOT / "configs"
ABOUT_THE_FILE = ("bases", "expected", "paper", "scales")  # keys of a file, not of a run


class SettingsError(Exception):
    """What is wrong with the settings, in one line for the user; the command ends with code 2."""


@dataclass(frozen=True)
class Merged:
    """One run's settings before the command line, and where they came from."""

    name: str
    settings: dict[str, Any]
    expected: dict[str, Any] = field(default_factory=dict)
    saved: bool = False  # a finished run's own config.yaml


def nearest(word: str, known: Iterable[str]) -> str:
    """`: did you mean 'x'?` for the closest known word, or nothing where none is close."""
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f": did you mean '{found[0]}'?" if found else ""


def merge(base: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """`base` with `over` laid on it, key by key; lists are replaced.

    Where `over` names another `class_path`, the `init_args` of the old class are dropped.
    """
    merged = dict(base)
    if over.get("class_path", base.get("class_path")) != base.get("class_path"):
        merged.pop("init_args", None)
    for key, value in over.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, dict):
            merged[key] = merge(old, value)
        else:
            merged[key] = value
    return merged


def read(path: Path) -> dict[str, Any]:
    """What a settings file says, its `${...}` resolved.

    Raises:
        SettingsError: if the file is missing, is not YAML, or is not a mapping.
    """
    return _read(path, resolve=True)


def read_plain(path: Path) -> dict[str, Any]:
    """What a YAML file says, `${...}` left as it stands.

    Raises:
        SettingsError: if the file is missing, is not YAML, or is not a mapping.
    """
    return _read(path, resolve=False)


@lru_cache(maxsize=512)  # a report asks for the same files hundreds of times
def _parsed(text: str) -> "DictConfig | ListConfig":
    from omegaconf import OmegaConf

    return OmegaConf.create(text)


def _read(path: Path, resolve: bool) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    if not path.is_file():
        raise SettingsError(f"no settings file at {path}")
    try:
        told = OmegaConf.to_container(_parsed(path.read_text("utf-8")), resolve=resolve)
    except (yaml.YAMLError, OmegaConfBaseException, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())
        raise SettingsError(f"{path} cannot be read as YAML: {reason}") from error
    if not isinstance(told, dict):
        raise SettingsError(f"{path} must hold `key: value` settings, got a {type(told).__name__}")
    return {str(key): value for key, value in told.items()}


def claims_file() -> Path:
    """What the papers claim, the one file beside the experiments that is none."""
    return EXPERIMENTS / "claims.yaml"


def names() -> list[str]:
    """Every experiment's name, sorted."""
    return sorted(path.stem for path in EXPERIMENTS.glob("*.yaml") if path != claims_file())


def find(name_or_path: str) -> Path:
    """The file of an experiment's name, or of a path to a settings file.

    Raises:
        SettingsError: if there is no such experiment, with the nearest name.
    """
    if name_or_path.endswith((".yaml", ".yml")):
        if not Path(name_or_path).is_file():
            raise SettingsError(f"no settings file at {name_or_path}")
        return Path(name_or_path)
    if name_or_path not in names():
        hint = nearest(name_or_path, names()) or "; `make list` shows what there is"
        raise SettingsError(f"no experiment '{name_or_path}'{hint}")
    return EXPERIMENTS / f"{name_or_path}.yaml"


def _bases(path: Path, told: dict[str, Any]) -> list[tuple[Path, dict[str, Any]]]:
    """The papers' settings that an experiment stands on: its own bases and no deeper."""
    bases = [path.parent / base for base in told["bases"]]
    read_bases = [(base, read(base)) for base in bases]
    for base, content in read_bases:
        if "bases" in content:
            raise SettingsError(
                f"{base} has `bases` of its own; the chain is default <- paper <- experiment"
            )
    return read_bases


def _scales(scale: str | None, files: list[tuple[Path, dict[str, Any]]]) -> list[dict[str, Any]]:
    """What a scale changes: for every experiment, then for this paper and this experiment."""
    if scale is None:
        return []
    known = sorted(path.stem for path in (CONFIGS / "scales").glob("*.yaml"))
    if scale not in known:
        raise SettingsError(
            f"no scale '{scale}'{nearest(scale, known)} (there are {', '.join(known)}, "
            "and none for the published run)"
        )
    own = [(content.get("scales") or {}).get(scale) or {} for _, content in files]
    return [read(CONFIGS / "scales" / f"{scale}.yaml"), *own]


def load_chain(name_or_path: str, scale: str | None = None) -> Merged:
    """The chain default <- paper <- experiment <- scale, merged; saved settings as they are.

    Args:
        name_or_path: an experiment's name, or the path of a settings file. A file without
            `bases` is taken for a run's saved settings, which already hold the whole chain.
        scale: "demo", "smoke", or None for the published run.

    Raises:
        SettingsError: if a file or the scale is missing, or the chain is deeper than that.
    """
    path = find(name_or_path)
    told = read(path)
    if "bases" not in told:
        if scale is not None:
            raise SettingsError(f"{path} is a finished run's settings; it cannot take a scale")
        return Merged(path.resolve().parent.name, told, saved=True)
    default = CONFIGS / "default.yaml"
    files = [(default, read(default)), *_bases(path, told), (path, told)]
    merged: dict[str, Any] = {}
    for content in [*(content for _, content in files), *_scales(scale, files[1:])]:
        merged = merge(merged, content)
    settings = {key: value for key, value in merged.items() if key not in ABOUT_THE_FILE}
    return Merged(path.stem, settings, told.get("expected") or {})


def runs_folder() -> Path:
    """The folder of all runs: $RUNS, or runs/ here."""
    return Path(os.environ.get("RUNS") or "runs")


def run_folder(name: str, scale: str | None) -> Path:
    """The folder of one run, in a W&B sweep one folder deeper, since all its runs share a name."""
    folder = runs_folder() / (f"{name}_{scale}" if scale else name)
    in_sweep = os.environ.get("WANDB_SWEEP_ID") and os.environ.get("WANDB_RUN_ID")
    return folder / os.environ["WANDB_RUN_ID"] if in_sweep else folder


def describe(name: str, source: str = "") -> tuple[str, dict[str, Any]]:
    """An experiment's first comment line, and the numbers that its paper printed.

    Args:
        name: of the experiment.
        source: where in the paper; a table that has numbers of its own in the file tells those.

    Raises:
        SettingsError: if the file cannot be read.
    """
    path = find(name)
    with path.open(encoding="utf-8") as lines:
        comment = next((line[1:].strip() for line in lines if line.startswith("#")), "")
    told = read(path).get("expected") or {}
    tables = {title: numbers for title, numbers in told.items() if isinstance(numbers, dict)}
    expected = {key: value for key, value in told.items() if key not in tables}
    for title, numbers in tables.items():
        expected |= numbers if re.search(rf"{title}\b", source) else {}
    return comment, expected


def paper_of(name: str) -> str:
    """The paper that an experiment belongs to, as the files it stands on say; empty where none do.

    Raises:
        SettingsError: if a file cannot be read, or they name several papers.
    """
    path = find(name)
    told = read(path)
    bases = _bases(path, told) if "bases" in told else []
    papers = {str(content["paper"]) for _, content in bases if "paper" in content}
    if len(papers) > 1:
        raise SettingsError(f"{path} stands on files of several papers: {sorted(papers)}")
    return papers.pop() if papers else ""


@dataclass(frozen=True)
class Request:
    """What the user asked for on the command line.

    Args:
        command: fit, validate, test, predict or show.
        name: an experiment's name or the path of a settings file.
        scale: "demo", "smoke" or None for the published run.
        run: another name for the run's folder.
        resume: go on from the last checkpoint, or start if there is none.
        evaluate: test the final weights after training.
        checkpoint: "last", "best" or a path.
        root: where the data lie, if not where the settings say.
        on: a file of configs/data, to be tested on in place of the run's own data.
        overrides: the settings on the command line, `--key=value`.
    """

    command: str
    name: str
    scale: str | None = None
    run: str | None = None
    resume: bool = False
    evaluate: bool = True
    checkpoint: str = "last"
    root: str | None = None
    on: str | None = None
    overrides: tuple[str, ...] = ()


def first_process() -> bool:
    """Whether this is the first process of a run, by what torchrun, SLURM or Lightning set."""
    ranks = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return all(os.environ.get(rank, "0") == "0" for rank in ranks)


def start_from(folder: Path, resume: bool) -> str | None:
    """The checkpoint that a training goes on from; None where it starts.

    Args:
        folder: the run's folder.
        resume: go on from the last checkpoint, if there is one.

    Raises:
        SettingsError: if the folder holds a run that is not to be resumed.
    """
    last = folder / "checkpoints" / "last.ckpt"
    if resume and not last.is_file() and first_process():
        sys.stderr.write(f"no checkpoint at {last} to go on from: starting with the first batch\n")
    if resume:
        return str(last) if last.is_file() else None
    # By the time the other processes start, the first may have begun to write here.
    if first_process() and (folder / "config.yaml").exists():
        raise SettingsError(
            f"{folder} holds a run already: go on with it by RESUME=1 (--resume), "
            "or give this one another name by RUN=<other name> (--run)"
        )
    return None


def trained(folder: Path, checkpoint: str) -> str:
    """The file of a run's "last" or "best" checkpoint, of a path, or the last of another run's.

    Raises:
        SettingsError: if there is no such file.
    """
    known = checkpoint in ("last", "best")
    path = folder / "checkpoints" / f"{checkpoint}.ckpt" if known else Path(checkpoint)
    path = path / "checkpoints" / "last.ckpt" if path.is_dir() else path
    if not path.is_file():
        raise SettingsError(
            f"no checkpoint at {path}: train first, or name last, best, a .ckpt file or a run's "
            "folder by CKPT (--ckpt)"
        )
    return str(path)
