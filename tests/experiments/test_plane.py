from pathlib import Path

import pytest

from experiments.plane import Point, draw, planes_section, points_of, realism_of
from experiments.repeats import Repeats, Run
from tests.experiments.made_up import MINE, chapter, write_run


def group(*scores: dict[str, float]) -> Repeats:
    runs = [
        Run(Path("x"), "full", "demo", seed, {}, {"output": {"n": "60"} | told})
        for seed, told in enumerate(scores)
    ]
    return Repeats(tuple(runs))


def section(base: Path) -> str:
    return "\n".join(planes_section(chapter(base), base))


@pytest.mark.parametrize(
    ("measures", "chosen"),
    [
        (("lpips", "fid", "frechet_own", "fed_own"), "lpips"),
        (("fed_own", "frechet_own", "fid"), "fid"),
        (("fed_b", "fed_a", "frechet_own"), "frechet_own"),
        (("fed_b", "fed_a"), "fed_a"),
        (("ssim", "niqe", "identity_own"), None),
    ],
)
def test_the_first_measure_of_realism_is_taken(measures: tuple[str, ...], chosen: str | None):
    told = {"psnr": 30.0} | dict.fromkeys(measures, 1.0)
    assert realism_of([group(told), group(told)]) == chosen


def test_a_measure_needs_two_groups_that_have_it_beside_psnr():
    both, one = {"psnr": 30.0, "lpips": 0.1, "fid": 3.0}, {"psnr": 30.0, "fid": 4.0}
    assert realism_of([group(both), group(one)]) == "fid"
    assert realism_of([group(both), group({"lpips": 0.2, "fid": 3.0})]) is None
    assert realism_of([group(both)]) is None


def test_a_point_holds_the_seeds_that_measured_both():
    three = group({"psnr": 30.0, "fid": 3.0}, {"psnr": 31.0}, {"psnr": float("inf"), "fid": 2.0})
    found = points_of({"a": three, "b": group({"psnr": 30.0})}, "fid")
    assert found == {"a": Point((3.0,), (30.0,))}


def test_a_plane_is_drawn_for_each_condition_and_linked(runs: Path):
    for seed in (0, 1):
        write_run(runs / f"a{seed}", "full", seed, {"psnr": 30.0 + seed, "fid": 9.0})
        write_run(runs / f"b{seed}", "plain", seed, {"psnr": 29.0, "fid": 7.0 - seed})
    write_run(runs / "c", "full", 0, {"psnr": 31.0, "fid": 8.0}, MINE)
    over = {"model.class_path": "some.OtherModel"}
    write_run(runs / "d", "other", 0, {"psnr": 28.0}, over)
    text = section(runs)
    assert text.startswith("### Perception and distortion\n\nOn 1:\n")
    assert [line for line in text.splitlines() if line.startswith("![")] == [
        "![fid and psnr](report/plane_a_paper_1.png)"
    ]
    assert "Without fid, so not shown: other" in text
    assert "lower left" in text
    picture = runs / "report" / "plane_a_paper_1.png"
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_without_two_points_there_is_no_plane(runs: Path):
    write_run(runs / "a", "full", 0, {"psnr": 30.0, "fid": 9.0})
    write_run(runs / "b", "plain", 0, {"psnr": 29.0})
    assert section(runs) == ""
    assert not (runs / "report").exists()


def test_psnr_falls_upwards_and_bars_are_the_spread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    drawn = []
    monkeypatch.setattr(
        "lightning_modules.figures.save_figure", lambda figure, _: drawn.append(figure)
    )
    points = {"a": Point((0.1, 0.3), (30.0, 32.0)), "b": Point((0.4,), (28.0,))}
    draw(points, "lpips", tmp_path / "x.png")
    (axes,) = drawn[0].axes
    low, high = axes.get_ylim()
    assert low > 32
    assert high < 28
    places = [
        (float(c.lines[0].get_xdata()[0]), float(c.lines[0].get_ydata()[0]))
        for c in axes.containers
    ]
    assert places == [(pytest.approx(0.2), 31.0), (0.4, 28.0)]
    ends = axes.containers[0].lines[2][0].get_segments()[0][:, 0]
    assert ends.tolist() == pytest.approx([0.2 - 0.02**0.5, 0.2 + 0.02**0.5])
    assert [text.get_text() for text in drawn[0].legends[0].get_texts()] == ["a", "b"]
