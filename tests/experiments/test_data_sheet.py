from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch

from experiments import data_sheet
from experiments.data_sheet import Card, sheet

import pytorch_lightning as pl  # isort: skip

UNPAIRED = "training, unpaired: the target is another person's clean face"


class Made(pl.LightningDataModule):
    """Batches of three with everything a batch can hold; each picture has its own grey."""

    def __init__(self, seed: int = 0, batches: int = 100, halves: bool = False) -> None:
        super().__init__()
        self.seed, self.batches, self.halves = seed, batches, halves
        self.stages: list[str] = []

    def setup(self, stage: str) -> None:
        self.stages.append(stage)

    def train_dataloader(self) -> Iterator[Any]:
        for k in range(self.batches):
            one = batch(k, "degradation", "label", "identity", "references")
            yield {"paired": one, "unpaired": batch(k)} if self.halves else one

    def test_dataloader(self) -> Iterator[Any]:
        yield batch(0)


class TestOnly(pl.LightningDataModule):
    __test__ = False

    def __init__(self) -> None:
        super().__init__()

    def test_dataloader(self) -> Iterator[Any]:
        one = batch(0)
        del one["target"]
        yield one


def batch(k: int, *more: str) -> dict[str, Any]:
    grey = torch.arange(3 * k, 3 * k + 3).reshape(3, 1, 1, 1) / 255
    told = {
        "image": grey.expand(3, 3, 20, 16),
        "target": 1 - grey.expand(3, 3, 20, 16),
        "name": [f"photograph {3 * k + i}" for i in range(3)],
        "degradation": ["noise sigma 0.1"] * 3,
        "label": torch.tensor([[0.0, 1.0, 0.0]]).expand(3, 3),
        "identity": torch.arange(3),
        "references": grey.expand(3, 3, 20, 16)[:, None].expand(3, 2, 3, 20, 16),
    }
    return {key: told[key] for key in ("image", "target", "name", *more)}


def settings(name: str, **init_args: Any) -> dict[str, Any]:
    path = f"tests.experiments.test_data_sheet.{name}"
    return {"data": {"class_path": path, "init_args": init_args}}


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    from experiments.settings import ROOT

    monkeypatch.syspath_prepend(str(ROOT))


def pixels(parts: data_sheet.Parts) -> np.ndarray:
    return np.asarray(sheet(parts, "a title"))


def test_the_first_eight_samples_of_training_are_taken_and_all_of_testing():
    parts = data_sheet.first_samples(settings("Made"), [])
    assert {part: len(cards) for part, cards in parts.items()} == {"training": 8, "testing": 3}
    assert [card.told[0] for card in parts["training"]] == [f"photograph {i}" for i in range(8)]


def test_everything_in_a_batch_is_told():
    card = data_sheet.first_samples(settings("Made"), [])["training"][1]
    assert card.told == (
        "photograph 1",
        "done in this order: noise sigma 0.1",
        "label: blur 0, noise 1, low light 0",
        "person 1 of this split",
    )
    assert list(card.pictures) == ["input", "target", "reference 1", "reference 2"]
    assert card.pictures["input"].max() == pytest.approx(1 / 255)


def test_semi_supervised_batches_are_shown_half_by_half():
    parts = data_sheet.first_samples(settings("Made", halves=True), [])
    assert list(parts) == ["training, paired", UNPAIRED, "testing"]
    assert len(parts[UNPAIRED]) == 8


def test_a_set_to_be_tested_on_only_shows_what_it_has():
    parts = data_sheet.first_samples(settings("TestOnly"), [])
    assert list(parts) == ["testing"]
    assert list(parts["testing"][0].pictures) == ["input"]


def test_the_seed_reaches_the_data():
    assert data_sheet.build(settings("Made"), ["--seed_everything=7"]).seed == 7
    assert data_sheet.build(settings("Made") | {"seed_everything": 5}, []).seed == 5


def card(height: int, width: int, told: str = "a name") -> Card:
    generator = torch.Generator().manual_seed(0)
    return Card({"input": torch.rand(3, height, width, generator=generator)}, (told,))


def contains(canvas: np.ndarray, picture: np.ndarray) -> bool:
    """Whether `picture` lies somewhere on `canvas`, pixel by pixel."""
    height, width = picture.shape[:2]
    tops, lefts = np.nonzero((canvas[: 1 - height, : 1 - width] == picture[0, 0]).all(-1))
    return any(
        np.array_equal(canvas[y : y + height, x : x + width], picture)
        for y, x in zip(tops, lefts, strict=True)
    )


@pytest.mark.parametrize("side", [150, 256])
def test_pictures_up_to_256_pixels_are_shown_one_to_one(side: int):
    shown = card(side, side)
    picture = (shown.pictures["input"] * 255).round().byte().permute(1, 2, 0).numpy()
    assert contains(pixels({"training": [shown]}), picture)


def test_small_pictures_are_enlarged_by_whole_pixels():
    shown = card(32, 20)
    picture = (shown.pictures["input"] * 255).round().byte().permute(1, 2, 0).numpy()
    enlarged = picture.repeat(4, 0).repeat(4, 1)
    assert contains(pixels({"training": [shown]}), enlarged)


def test_large_pictures_are_shrunk_by_area():
    shown = card(512, 512)
    values = (shown.pictures["input"] * 255).round().byte().permute(1, 2, 0).numpy()
    averaged = values.reshape(256, 2, 256, 2, 3).mean((1, 3))
    canvas = pixels({"training": [shown]})
    found = [
        (y, x)
        for y in range(canvas.shape[0] - 255)
        for x in range(canvas.shape[1] - 255)
        if np.abs(canvas[y, x].astype(float) - averaged[0, 0]).max() <= 1
        and np.abs(canvas[y : y + 256, x : x + 256].astype(float) - averaged).max() <= 1
    ]
    assert len(found) == 1


def test_a_long_text_makes_the_sheet_longer_and_not_wider():
    short, long = (pixels({"testing": [card(64, 64, told)]}) for told in ("a", "word " * 100))
    assert long.shape[0] > short.shape[0] + 50
    assert long.shape[1] == short.shape[1]
    unbroken = pixels({"testing": [card(64, 64, "word" * 100)]})
    assert unbroken.shape[0] > short.shape[0] + 50
    assert unbroken.shape[1] == short.shape[1]


def test_rows_are_as_long_as_each_other():
    few, many = (pixels({"testing": [card(256, 256)] * count}) for count in (4, 8))
    assert few.shape[1] == many.shape[1]
    assert many.shape[1] <= data_sheet.WIDTH + 4 * data_sheet.GAP
    assert many.shape[0] > 1.7 * few.shape[0]


def test_the_margin_is_white():
    canvas = pixels({"training": [card(64, 64)]})
    assert (canvas[:8] == 255).all()
    assert (canvas[:, :8] == 255).all()


def test_a_sheet_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no sample to show"):
        sheet({"training": []}, "nothing")
