"""The page beside an exported network: what it is, what trained it, what it may be used for."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from experiments.exportable import Exportable
from experiments.settings import SettingsError, describe, paper_of
from experiments.tables import markdown, read_rows, worded
from lightning_modules.base import Training
from lightning_modules.inversion import FeedForwardInversion

_EACH: Final = "each photograph under the licence in its metadata; not for face recognition"
LICENCES: Final = {
    "FFHQ": f"FFHQ: CC BY-NC-SA 4.0, {_EACH}",
    "ParsedFFHQ": f"FFHQ: CC BY-NC-SA 4.0, {_EACH}",
    "FFHQR": f"FFHQR: CC BY-NC-SA 4.0, as FFHQ, {_EACH}",
    "CelebA": "CelebA: non-commercial research only",
    "VGGFace2": "VGGFace2: withdrawn by its makers; the licence that came with a copy",
    "FaceRenov": "FaceRenov: internal to its makers, never published",
}
"""Of the sets, by the class that reads them."""
YOURS: Final = "photographs of your own, whose licence you know"
DRAWN: Final = "drawn faces of nobody, made by this suite"
USES: Final = {
    "restoration": (
        "restoring or retouching photographs whose owners want it, and comparisons in research",
        "What comes out is a guess at a face and no evidence: do not identify anybody by it, nor "
        "show it as a photograph without saying so. It is as good as its data: on faces, light "
        "and degradations unlike those it may invent or smooth away what makes a person.",
    ),
    "inversion": (
        "auditing how much of a face a stored template gives away, with templates that you may use",
        "This is template inversion. Do not rebuild the face of anybody who did not agree to it; "
        "templates of others must not be fed to it, and it is no means to pass a face check.",
    ),
    "embedding": (
        "measuring in research whether a person is kept by a restoration",
        "It is no means to identify or watch people, and not tested for any decision about them. "
        "Its errors differ among groups of people and have not been measured by group.",
    ),
}


@dataclass(frozen=True)
class Check:
    """How far an exported file's answers are from the network's.

    Attributes:
        shapes: of the inputs.
        difference: the largest of all numbers.
    """

    shapes: tuple[tuple[int, ...], ...]
    difference: float

    def __str__(self) -> str:
        shown = " and ".join(" x ".join(map(str, shape)) for shape in self.shapes)
        return f"largest difference from the network at {shown}: {self.difference:.2g}"


def card(
    network: Exportable,
    settings: Mapping[str, Any],
    checkpoint: Path,
    form: str,
    checks: Sequence[Check],
) -> str:
    """The model card, in Markdown.

    Args:
        network: that was exported.
        settings: of its run.
        checkpoint: that its weights are from.
        form: of the file, as the command calls it.
        checks: of its answers.
    """
    use, misuse = USES[_kind(network)]
    folder = checkpoint if checkpoint.is_dir() else checkpoint.resolve().parents[1]
    sections = {
        "What it is": _about(network, settings),
        "Input and output": [*_interface(network, form), *(f"- {check}" for check in checks)],
        "Data": _data(settings),
        "Training": _training(network, settings, folder),
        "Results": _results(folder),
        "The paper's numbers": _expected(settings),
        "Licences": _licences(settings),
        "Meant for": [use[0].upper() + use[1:] + "."],
        "Not meant for": [misuse],
    }
    title = f"# {settings.get('experiment', 'network')} ({form})"
    parts = [f"## {name}\n\n" + "\n".join(lines) for name, lines in sections.items() if lines]
    return "\n\n".join([title, *parts]) + "\n"


def _kind(network: Exportable) -> str:
    if isinstance(network.method, Training):
        return "restoration"
    inverts = isinstance(network.method, FeedForwardInversion)
    return "inversion" if inverts else "embedding"


def _about(network: Exportable, settings: Mapping[str, Any]) -> list[str]:
    name, method = settings.get("experiment", ""), network.method
    try:
        comment, paper = describe(name)[0], paper_of(name)
    except SettingsError:  # an experiment of the user's own
        comment, paper = "", ""
    count = sum(parameter.numel() for parameter in network.module.parameters())
    trained = getattr(method, "network", network.module)
    lines = [
        f"- experiment: {name}, at scale {settings.get('scale', 'published')}",
        f"- method: {type(method).__name__} with {type(trained).__name__}, {count} parameters",
    ]
    lines += [f"- paper: {paper}"] if paper else []
    return ([comment, ""] if comment else []) + lines


def _interface(network: Exportable, form: str) -> list[str]:
    lines = [
        f"- input `{name}`: {each.meaning}; ({', '.join(['b', *map(_side, each.shape)])}), float32"
        for name, each in network.inputs.items()
    ]
    lines += [f"- output `{name}`: {meaning}" for name, meaning in network.outputs.items()]
    if form == "torchscript":
        batch, height, width = network.sizes[0]
        free = f" and {height} x {width}" if network.free else ""
        return [*lines, f"- sizes: a batch of {batch}{free} alone; the trace holds for no other"]
    if network.free:
        return [
            *lines,
            f"- sizes: any batch, height and width from {network.least} to {network.most}",
        ]
    return [*lines, "- sizes: any batch; height and width as above, where there are any"]


def _side(side: int | None) -> str:
    return "any" if side is None else str(side)


def _data(settings: Mapping[str, Any]) -> list[str]:
    parts = _sets(settings)
    named = [f"- {name}: {'drawn' if drawn else 'photographs'}" for name, drawn in parts]
    data = settings.get("data", {}).get("init_args", {})
    shown = ("size", "batch_size", "degradation", "gamma", "splits")
    return named + [f"- {key}: {_short(data[key])}" for key in shown if data.get(key) is not None]


def _short(value: object) -> str:
    if isinstance(value, Mapping):
        name = str(value.get("class_path", "")).rpartition(".")[2]
        told = ", ".join(f"{k} {_short(v)}" for k, v in (value.get("init_args") or {}).items())
        return f"{name} ({told})" if told else name
    return str(value)


def _sets(settings: Mapping[str, Any]) -> list[tuple[str, bool]]:
    """The classes of the data sets, and whether their faces are drawn."""
    data = settings.get("data", {})
    arguments = data.get("init_args") or {}
    inner = [
        each
        for each in arguments.values()
        if isinstance(each, Mapping) and "root" in (each.get("init_args") or {})
    ]
    parts = inner or [data]
    found = [
        (
            str(each.get("class_path", "unknown")).rpartition(".")[2],
            bool((each.get("init_args") or {}).get("draw")),
        )
        for each in parts
    ]
    return list(dict.fromkeys(found))


def _training(network: Exportable, settings: Mapping[str, Any], folder: Path) -> list[str]:
    done, rate = network.method.batches_done, network.method.learning_rate
    lines = [
        f"- batches: {done} of {network.method.max_batches}",
        f"- learning rate: {rate:g}",
        f"- seed: {settings.get('seed_everything', 'unknown')}",
    ]
    commit = _commit(folder)
    return lines + ([f"- commit: {commit}"] if commit else [])


def _commit(folder: Path) -> str:
    try:
        told = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        return f"{told['commit']}{' and changes' if told['uncommitted_changes'] else ''}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""  # a checkpoint that was moved out of its run's folder


def _results(folder: Path) -> list[str]:
    """The table of the run's test, if there was one."""
    path = folder / "results.csv"
    if not path.is_file():
        return ["Not tested."]
    rows = read_rows(path)
    columns = [name for name in rows[0] if any(row[name] is not None for row in rows)]
    return [markdown(rows, columns, []).strip()]


def _expected(settings: Mapping[str, Any]) -> list[str]:
    try:
        expected = describe(settings.get("experiment", ""))[1]
    except SettingsError:
        return []
    published = settings.get("scale", "published") == "published"
    lines = [f"- {name}: {worded(value)}" for name, value in expected.items()]
    note = "Of the published run, on other data and a longer training than this file's."
    return lines if published or not lines else [note, "", *lines]


def _licences(settings: Mapping[str, Any]) -> list[str]:
    sets = [DRAWN if drawn else LICENCES.get(name, YOURS) for name, drawn in _sets(settings)]
    owned = any(told != DRAWN for told in sets)
    bound = (
        "nobody has licensed them: what binds the data may bind them too, so non-commercial use "
        "where the data are so; if another set was prepared in this layout, its licence counts"
        if owned
        else "Apache-2.0, as the code"
    )
    return [
        "- code: Apache-2.0",
        *(f"- data: {told}" for told in dict.fromkeys(sets)),
        f"- weights: {bound}",
    ]
