from pathlib import Path

from experiments.gallery import best_run, gallery_section
from tests.experiments.made_up import WATCHED, chapter, write_run


def run(base: Path, seed: int, psnr: float, *pictures: str) -> None:
    folder = write_run(base / f"a {seed}", "full", seed, {"psnr": psnr}, WATCHED)
    (folder / "pictures").mkdir()
    for name in pictures:
        (folder / "pictures" / name).write_bytes(b"\x89PNG")


def test_the_best_run_by_what_it_was_watched_by_is_shown(runs: Path):
    for seed, psnr in enumerate((30.0, 32.0, 31.0)):
        run(runs, seed, psnr, "test.png", "closeup.png", "val_0001200.png", "iterate_0000050.png")
    text = "".join(gallery_section(chapter(runs), runs))
    assert "Seed 1, the best of 3 by psnr." in text
    assert "![full on test images](a%201/pictures/test.png)" in text
    assert "More of this run: [closeup](a%201/pictures/closeup.png).\n" in text
    assert "0001200" not in text
    assert "0000050" not in text


def test_without_that_metric_it_is_the_first_seed(runs: Path):
    write_run(runs / "b", "full", 3, {"psnr": 31.0}, {"monitor": "val/auc"})
    write_run(runs / "a", "full", 5, {"psnr": 32.0}, {"monitor": "val/auc"})
    found, metric = best_run(chapter(runs).groups[0])
    assert (found.seed, metric) == (3, "")


def test_a_run_without_pictures_is_left_out(runs: Path):
    run(runs, 0, 30.0, "val_0000002.png")
    assert gallery_section(chapter(runs), runs) == []
