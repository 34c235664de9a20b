"""The report: all runs beside what their papers printed and claimed, from the runs' own files."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from experiments.chapters import Chapter, chapters_of
from experiments.convergence import convergence_section
from experiments.costs import costs_section
from experiments.curves import FOLDER, curves_of, draw, file_name
from experiments.gallery import gallery_section
from experiments.leakage import leakage_section
from experiments.options import COMMANDS, Parser
from experiments.overview import overview_section
from experiments.page import page
from experiments.paper_tables import tables_section
from experiments.plane import planes_section
from experiments.protocols import protocols_section
from experiments.repeats import Run, find_runs, repeats_of
from experiments.scatter import scatter_section
from experiments.settings import SettingsError, runs_folder
from experiments.tables import markdown
from experiments.verdicts import claims_section

WITHOUT = "leave out the pictures of test images, which may not be published"

HEAD = """# Our numbers beside the papers'

Every number of ours is read from the files of a run, and every number of a paper from the file of
an experiment. A row gathers the runs of one experiment that differ in nothing but the seed: mean ±
sample standard deviation over the seeds, one number alone for one seed. Runs with other settings
are rows of their own, and what differs is said.
"""


def main(arguments: Sequence[str] = ()) -> int:
    """Prints the report as Markdown; writes it and a page of it beside the runs.

    Raises:
        SettingsError: if there is no run with results, or a file cannot be used.
    """
    parser = Parser("report", f"{COMMANDS['report'].capitalize()}.")
    parser.add_argument("--without-pictures", action="store_true", help=WITHOUT)
    told = parser.parse_args(arguments)
    base = runs_folder()
    text = report_of(base, pictures=not told.without_pictures)
    paths = [base / "report.md", base / "report.html"]
    for path, content in zip(paths, (text, page(text)), strict=True):
        path.write_text(content, encoding="utf-8")
    console = Console()
    console.print(text, soft_wrap=True, highlight=False, markup=False)
    written = " and ".join(str(path) for path in paths)
    console.print(f"written to {written}", soft_wrap=True, highlight=False)
    return 0


def report_of(base: Path, pictures: bool = True) -> str:
    """The report of all runs in a folder, as Markdown; draws its figures.

    Args:
        base: folder of the runs.
        pictures: whether it shows those that the runs made of test images, too.

    Raises:
        SettingsError: if there is no run with results, or a file cannot be used.
    """
    runs, left_out = find_runs(base)
    if not runs:
        why = "".join(f"; {folder}: {reason}" for folder, reason in left_out.items())
        raise SettingsError(f"no results under {base}: train or test an experiment first{why}")
    repeats, doubled = repeats_of(runs)
    for run, counted in doubled.items():
        same = counted.relative_to(base).as_posix()
        left_out[run.relative_to(base).as_posix()] = f"same settings and seed as {same}"
    chapters = chapters_of(repeats)
    parts = [HEAD, *overview_section(chapters)]
    for chapter in chapters:
        parts += _chapter(chapter, base)
        parts += gallery_section(chapter, base) if pictures else []
    return "\n".join([*parts, _runs_section(chapters, base), *_left_out_section(left_out)])


def _chapter(chapter: Chapter, base: Path) -> list[str]:
    return [
        *chapter.head(),
        *tables_section(chapter),
        *claims_section(chapter),
        *leakage_section(chapter),
        *protocols_section(chapter),
        *_figures(chapter, base),
        *convergence_section(chapter, base),
        *planes_section(chapter, base),
        *scatter_section(chapter, base),
        *costs_section(chapter),
    ]


def _figures(chapter: Chapter, base: Path) -> list[str]:
    """The plots of a chapter's components, one for each condition that has curves."""
    lines: list[str] = []
    names: list[str] = []
    for number, words in enumerate(chapter.conditions.words, 1):
        curves = curves_of(chapter.named(number))
        if not curves:
            continue
        names.append(file_name([chapter.paper, *(word.split(".")[-1] for word in words)], names))
        draw(curves, base / FOLDER / names[-1])
        lines += [f"On {number}:\n", f"![d_i of each component]({FOLDER}/{names[-1]})\n"]
    about = "d_i: the share of the edit's component i that is undone; mean over the seeds.\n"
    return ["### Improvement of each component\n", *lines, about] if lines else []


def _runs_section(chapters: Sequence[Chapter], base: Path) -> str:
    columns = ("paper", "on", "experiment", "seed", "run", "commit")
    rows = [
        {
            "paper": chapter.paper,
            "on": str(chapter.number(group)),
            "experiment": group.experiment,
            "seed": str(run.seed),
            "run": run.folder.relative_to(base).as_posix(),
            "commit": run.commit,
        }
        for chapter in chapters
        for group in chapter.groups
        for run in group.runs
    ]
    return "## The runs\n\n" + markdown(rows, columns, _of_many_commits(chapters))


def _of_many_commits(chapters: Sequence[Chapter]) -> list[str]:
    runs: list[Run] = [run for c in chapters for group in c.groups for run in group.runs]
    commits = Counter(run.commit for run in runs)
    if len(commits) < 2:
        return []
    return ["The code of these runs is not all of one commit; settings alone decide what is a row."]


def _left_out_section(left_out: dict[str, str]) -> list[str]:
    if not left_out:
        return []
    lines = [f"- {folder}: {reason}" for folder, reason in sorted(left_out.items())]
    return ["## Left out\n", "\n".join(lines) + "\n"]
