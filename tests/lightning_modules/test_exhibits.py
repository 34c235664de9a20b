import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from lightning_modules.exhibits import (
    CloseUp,
    ComponentCurves,
    FirstBranches,
    Window,
    close_up,
    most_different,
)
from lightning_modules.scores import Scores
from ops.kernels.component import ComponentBasis, PatchPCA

YELLOW = torch.tensor([1.0, 0.85, 0.0])


def faces(seed: int = 0, count: int = 2, side: int = 24) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    target = torch.rand(count, 3, side, side, generator=generator)
    image = (target + 0.2 * torch.randn(target.shape, generator=generator)).clamp(0, 1)
    return image, (0.7 * target + 0.3 * image), target


def read(folder: Path) -> dict[str, list[float]]:
    with (folder / "components.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name] or "nan") for row in rows] for name in rows[0]}


def test_the_window_lies_where_two_pictures_differ_most() -> None:
    image = torch.rand(3, 32, 48)
    target = image.clone()
    target[:, 20:28, 5:17] += 0.1  # a window of 8 x 12
    target[0, 3, 40] += 5.0  # one strong pixel weighs less
    assert most_different(image, target) == Window(20, 5, 8, 12)


def test_of_pictures_that_do_not_differ_the_middle_is_shown() -> None:
    image = torch.rand(3, 32, 48)
    assert most_different(image, image) == Window(12, 18, 8, 12)


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (5, 2)])
def test_the_smallest_pictures_have_a_window(size: tuple[int, int]) -> None:
    image, target = torch.rand(2, 3, *size)
    window = most_different(image, target)
    assert min(window.height, window.width) == 1
    assert close_up(image, window).shape == (3, 2 * size[0] + 4, size[1])


def test_a_close_up_is_the_picture_with_a_frame_above_its_window_enlarged() -> None:
    picture = torch.zeros(3, 40, 40)
    picture[2, 10:20, 20:30] = 1.0
    seen = close_up(picture, Window(10, 20, 10, 10))
    whole, gap, crop = seen[:, :40], seen[:, 40:44], seen[:, 44:]
    assert (gap == 1).all()
    assert crop.shape == picture.shape
    assert torch.allclose(crop, torch.tensor([0.0, 0.0, 1.0])[:, None, None].expand_as(crop))
    frame = (whole == YELLOW[:, None, None]).all(0)
    assert frame[[10, 19], 20:30].all()
    assert frame[10:20, [20, 29]].all()
    assert int(frame.sum()) == 36
    assert torch.equal(whole[:, ~frame], picture[:, ~frame])


def test_large_pictures_are_reduced_but_their_close_up_keeps_its_detail() -> None:
    picture = torch.zeros(3, 2048, 1024)
    picture[:, :, ::4] = 1.0  # lines that are gone at a quarter of the size
    seen = close_up(picture, Window(512, 256, 512, 256))
    assert seen.shape == (3, 2 * 512 + 4, 256)
    assert float(seen[:, 516:, 8:-8].std()) > 0.3
    assert float(seen[:, :100, 8:-8].std()) < 0.1
    frame = (seen[:, :512] == YELLOW[:, None, None]).all(0).nonzero()
    assert frame.amin(0).tolist() == [128, 64]
    assert frame.amax(0).tolist() == [255, 127]


def test_close_ups_of_the_first_faces_are_written_once(tmp_path: Path) -> None:
    exhibit = CloseUp(faces=3)
    image, output, target = faces(count=2, side=192)
    for _ in range(3):
        exhibit.add(image, output, target)
    exhibit.write(tmp_path)
    path = tmp_path / "pictures" / "closeup.png"
    with Image.open(path) as picture:
        assert picture.size == (3 * 196, 18 + 3 * (2 * 192 + 4 + 4))
        columns = np.asarray(picture)[18 : 18 + 192].reshape(192, 3, 196, 3)[:, :, :192]
    shown = torch.stack([image[0], output[0], target[0]]).permute(2, 0, 3, 1)
    same = np.isclose(columns / 255, shown.numpy(), atol=0.003).all(-1)
    assert same.mean() > 0.95  # all but the frame
    path.unlink()
    exhibit.write(tmp_path)
    assert not path.exists()


def test_a_process_that_writes_nothing_starts_anew_too(tmp_path: Path) -> None:
    exhibit = CloseUp()
    exhibit.add(*faces())
    exhibit.write(None)
    exhibit.write(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize(
    ("dedicated", "counts"),
    [(1, [1]), (2, [2]), (3, [2, 3]), (6, [2, 4, 6]), (7, [2, 4, 7]), (9, [2, 4, 7, 9])],
)
def test_branches_are_shown_up_to_all_dedicated_ones_for_the_first_faces_alone(
    tmp_path: Path, dedicated: int, counts: list[int]
) -> None:
    asked = []

    def restore(image: Tensor, some: Sequence[int]) -> list[Tensor]:
        asked.append((len(image), [*some]))
        return [torch.full_like(image, k / 10) for k in some]

    exhibit = FirstBranches(restore, dedicated, faces=3)
    for _ in range(3):
        exhibit.add(*faces(count=2, side=192))
    exhibit.write(tmp_path)
    assert asked == [(2, counts), (1, counts)]
    with Image.open(tmp_path / "pictures" / "branches.png") as picture:
        shades = np.asarray(picture)[18 + 192 + 100, 100::196, 0]
    assert len(shades) == len(counts) + 3  # edited, all, ground truth
    assert [*shades[1:-2]] == [round(25.5 * k) for k in counts]


def test_there_are_no_branches_to_show_without_dedicated_ones() -> None:
    with pytest.raises(ValueError, match="dedicated must be at least 1 to show branches, got 0"):
        FirstBranches(lambda image, _: [image], 0)


@pytest.fixture
def basis() -> ComponentBasis:
    image, _, target = faces(9)
    pca = PatchPCA(3)
    pca.update(target - image)
    return pca.basis()


def of_batches(basis: ComponentBasis, seeds: Sequence[int]) -> tuple[Scores, ComponentCurves]:
    """Scores and curves of some batches of faces."""
    scores = Scores(basis=basis)
    curves = ComponentCurves(basis, scores.output.improvement)
    for seed in seeds:
        image, output, target = faces(seed)
        scores.update(image, output, target, torch.ones_like(image[:, :1]), None, 1.0)
        curves.add(image, output, target)
    return scores, curves


def test_the_improvement_in_the_table_adds_up_to_ari(tmp_path: Path, basis: ComponentBasis) -> None:
    scores, curves = of_batches(basis, [0, 1])
    ari = scores.table()["output"]["ari"]
    curves.write(tmp_path)
    table = read(tmp_path)
    assert [*table] == ["component", "improvement", "discrepancy", "image"]
    assert table["component"] == [*range(1, 10)]
    assert sum(table["improvement"]) == pytest.approx(ari, rel=1e-12)
    assert 0 < ari < 9
    assert scores.table()["output"]["ari"] == ari  # the sums are as they were


def test_the_spectra_are_the_shares_of_the_eigenvalues_of_all_patches(
    tmp_path: Path, basis: ComponentBasis
) -> None:
    of_batches(basis, [0, 1])[1].write(tmp_path)
    batches = [faces(seed) for seed in (0, 1)]
    for name, maps in (
        ("discrepancy", [target - image for image, _, target in batches]),
        ("image", [target for _, _, target in batches]),
    ):
        planes = torch.cat(maps).flatten(0, 1)[:, None]
        patches = torch.nn.functional.unfold(planes, 3).movedim(1, 0).flatten(1).double().numpy()
        eigenvalues = np.linalg.eigvalsh(patches @ patches.T)[::-1]
        expected = eigenvalues / eigenvalues.sum()
        assert read(tmp_path)[name] == pytest.approx([*expected], rel=1e-5)


def test_curves_start_anew_after_they_were_written(tmp_path: Path, basis: ComponentBasis) -> None:
    scores, curves = of_batches(basis, [0])
    curves.write(tmp_path / "first")
    scores.reset()
    image, output, target = faces(1)
    scores.update(image, output, target, torch.ones_like(image[:, :1]), None, 1.0)
    curves.add(image, output, target)
    curves.write(tmp_path / "second")
    of_batches(basis, [1])[1].write(tmp_path / "alone")
    assert read(tmp_path / "second") == read(tmp_path / "alone")
    assert read(tmp_path / "first") != read(tmp_path / "second")
    for name in ("first", "second"):
        with Image.open(tmp_path / name / "pictures" / "components.png") as picture:
            assert picture.width > picture.height


def test_components_that_cannot_be_compared_and_edits_of_nothing_have_empty_cells(
    tmp_path: Path, basis: ComponentBasis
) -> None:
    curves = ComponentCurves(basis, lambda: torch.tensor([0.5, torch.nan] + [0.0] * 7))
    target = torch.rand(2, 3, 24, 24)
    curves.add(target, target, target)
    curves.write(tmp_path)
    lines = (tmp_path / "components.csv").read_text().splitlines()
    assert lines[1].startswith("1,0.5,,0.")
    assert lines[2].startswith("2,,,0.")


def test_a_test_without_an_image_is_refused(tmp_path: Path, basis: ComponentBasis) -> None:
    with pytest.raises(ValueError, match="no patch was seen"):
        ComponentCurves(basis, lambda: torch.zeros(9)).write(tmp_path)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("shares", [([0], [1, 2]), ([], [0, 1, 2])])
def test_two_processes_write_what_one_does_even_if_one_saw_nothing(
    tmp_path: Path,
    basis: ComponentBasis,
    two_processes: Callable[[Callable[[int], Any]], list[Any]],
    shares: tuple[list[int], list[int]],
) -> None:
    def test(rank: int) -> None:
        of_batches(basis, shares[rank])[1].write(tmp_path / "two" if rank == 0 else None)

    two_processes(test)
    of_batches(basis, [0, 1, 2])[1].write(tmp_path / "one")
    one, two = read(tmp_path / "one"), read(tmp_path / "two")
    for name, values in one.items():
        assert two[name] == pytest.approx(values, rel=1e-6), name
