from collections.abc import Collection
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from lightning_modules.exhibits import Exhibit
from lightning_modules.subspaces import Enlargements, Strengths, Subspaces, reduced

TITLE, GAP, SIDE = 18, 4, 192


def shown(exhibit: Exhibit, folder: Path, batches: int = 1) -> np.ndarray:
    faces = torch.full((2, 3, SIDE, SIDE), 0.25)
    for _ in range(batches):
        exhibit.add(faces, faces, 2 * faces)
    exhibit.write(folder)
    (path,) = (folder / "pictures").iterdir()
    return np.asarray(Image.open(path)) / 255


def tile(sheet: np.ndarray, column: int, lower: bool = False) -> float:
    """The colour of a tile of the first face."""
    y = TITLE + (SIDE if lower else 0) + SIDE // 2
    return float(sheet[y, column * (SIDE + GAP) + SIDE // 2, 0])


def test_a_level_is_shown_alone_above_what_is_restored_up_to_it(tmp_path: Path) -> None:
    calls = []

    def restore(image: torch.Tensor, held: Collection[int]) -> torch.Tensor:
        calls.append(set(held))
        return torch.full_like(image, len(held) / 10)

    sheet = shown(Subspaces(restore, 3, faces=1), tmp_path)
    assert calls == [{1, 2}, {1, 2}, {0, 2}, {2}, {0, 1}, set()]
    upper = [tile(sheet, column) for column in range(4)]
    lower = [tile(sheet, column, lower=True) for column in range(4)]
    assert upper == pytest.approx([0.25, 0.2, 0.2, 0.2], abs=0.01)
    assert lower == pytest.approx([0.5, 0.2, 0.1, 0.0], abs=0.01)


def test_ever_stronger_guidance_stands_between_input_and_target(tmp_path: Path) -> None:
    exhibit = Strengths(torch.mul, (0.5, 1.0, 3.0), faces=1)
    sheet = shown(exhibit, tmp_path)
    tiles = [tile(sheet, column) for column in range(5)]
    assert tiles == pytest.approx([0.25, 0.125, 0.25, 0.75, 0.5], abs=0.01)


def test_targets_of_lower_resolution_are_shown_above_their_outputs(tmp_path: Path) -> None:
    exhibit = Enlargements(lambda image: 1 - image, (2, 16, 500), faces=1)
    sheet = shown(exhibit, tmp_path)
    assert sheet.shape[1] == 3 * (SIDE + GAP)  # nothing is left of a face at 1 / 500
    assert [tile(sheet, column) for column in range(3)] == pytest.approx([0.5] * 3, abs=0.01)
    assert tile(sheet, 1, lower=True) == pytest.approx(0.5, abs=0.01)


def test_each_resolution_has_details_of_its_own() -> None:
    image = torch.rand(1, 3, 32, 30)
    spread = [float(reduced(image, factor).std()) for factor in (2, 4, 8)]
    assert all(reduced(image, factor).shape == image.shape for factor in (2, 4, 8))
    assert spread == sorted(spread, reverse=True)
    assert reduced(image, 4).mean() == pytest.approx(float(image.mean()), abs=0.02)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Subspaces(lambda image, _: image, 2, faces=3),
        lambda: Strengths(lambda image, _: image, faces=3),
        lambda: Enlargements(lambda image: image, faces=3),
    ],
)
def test_the_first_faces_are_shown_and_then_no_more(tmp_path: Path, make: object) -> None:
    exhibit: Exhibit = make()  # type: ignore[operator]
    sheet = shown(exhibit, tmp_path / "first", batches=3)
    rows = (sheet.shape[0] - TITLE) / (SIDE + GAP)
    assert rows >= 3
    assert rows < 6.1
    exhibit.write(tmp_path / "second")
    assert not (tmp_path / "second").exists()


def test_a_process_that_writes_nothing_starts_anew_too(tmp_path: Path) -> None:
    exhibit = Strengths(torch.mul, faces=1)
    face = torch.rand(1, 3, 8, 8)
    exhibit.add(face, face, face)
    exhibit.write(None)
    exhibit.write(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_large_face_is_shown_reduced(tmp_path: Path) -> None:
    exhibit = Strengths(lambda image, _: image, (1.0,), faces=1)
    face = torch.rand(1, 3, 4, 1024)
    exhibit.add(face, face, face)
    exhibit.write(tmp_path)
    with Image.open(tmp_path / "pictures" / "strengths.png") as sheet:
        assert sheet.width == 3 * (512 + GAP)
