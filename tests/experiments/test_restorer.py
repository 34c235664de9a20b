import pytest
import torch
from torch import nn

from datamodules.faces import ffhq_view
from datamodules.inbox import Crops
from experiments.restorer import (
    AT_ONCE,
    Restorer,
    judge_of,
    references_of,
    refuse_unsuited,
    restored_in_tiles,
)
from experiments.settings import SettingsError
from lightning_modules.base import Restored
from tests.experiments.tiny import TinyTraining


def image(height=100, width=130):
    return torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(1))


def brighter(batch):
    return Restored(batch["image"] * 0.5 + 0.25, batch["image"][:, :1] ** 2)


class Blur(nn.Module):
    def forward(self, batch):
        return Restored(nn.functional.avg_pool2d(batch["image"], 5, 1, 2, count_include_pad=False))


@pytest.mark.parametrize("size", [(100, 130), (32, 32), (20, 90), (9, 7)])
def test_tiles_of_what_looks_at_one_pixel_are_the_whole(size):
    whole, tiled = brighter({"image": image(*size)}), restored_in_tiles(brighter, image(*size), 32)
    torch.testing.assert_close(tiled.image, whole.image)
    torch.testing.assert_close(tiled.mask, whole.mask)


def test_tiles_of_what_looks_around_are_nearly_the_whole():
    blur = Blur()
    whole, tiled = blur({"image": image()}).image, restored_in_tiles(blur, image(), 48).image
    assert (tiled - whole).abs().mean() < 0.003
    assert tiled.shape == whole.shape


def test_a_network_that_changes_the_size_takes_no_tiles():
    def half(batch):
        return Restored(batch["image"][..., ::2, ::2])

    with pytest.raises(ValueError, match="made 16 x 16 of a tile of 32 x 32"):
        restored_in_tiles(half, image(), 32)


class Same(TinyTraining):
    def restore(self, batch):
        assert len(batch["image"]) <= AT_ONCE
        if batch["image"].shape[-1] == 13:
            raise ValueError("a side must be\na multiple of 8, got 13")
        return Restored(batch["image"], torch.ones_like(batch["image"][:, :1]))


class Judge(nn.Module):
    def normalised(self, faces):
        return nn.functional.normalize(faces.flatten(1), dim=1)


def test_an_answer_holds_the_change_of_every_face():
    faces = torch.rand(AT_ONCE + 3, 3, 16, 16)
    answer = Restorer(Same(), Judge()).predict_step({"image": faces, "piece": "any"}, 0)
    assert len(answer.changes) == len(answer.masks) == len(faces)
    assert not any(change.any() for change in answer.changes)
    assert answer.changes[0].shape == (16, 16, 3)
    assert answer.masks[0].shape == (16, 16)
    assert answer.likeness == pytest.approx([1.0] * len(faces))
    assert Restorer(Same()).predict_step({"image": faces[:0]}, 0).changes == []


def test_what_a_method_cannot_restore_is_told_in_a_line():
    answer = Restorer(Same()).predict_step({"image": torch.rand(1, 3, 13, 13)}, 0)
    assert answer.failure == "cannot be restored: a side must be a multiple of 8, got 13"


def test_pictures_larger_than_a_tile_are_restored_in_tiles():
    picture = image(40, 50)
    answer = Restorer(Same(), tile=32).predict_step({"image": picture}, 0)
    assert answer.changes[0].shape == (40, 50, 3)
    assert abs(answer.changes[0]).max() < 1e-6


def test_what_a_method_cannot_take_is_refused():
    refuse_unsuited(Same(), references=False, tile=32)
    with pytest.raises(SettingsError, match="takes no references"):
        refuse_unsuited(Same(), references=True, tile=0)
    with pytest.raises(SettingsError, match="--tile=13 does not suit the network: a side must"):
        refuse_unsuited(Same(), references=False, tile=13)
    wants_parsing = Same()
    wants_parsing.network = nn.Module()
    wants_parsing.network.prior = nn.Module()
    wants_parsing.network.prior.needs_parsing = True
    with pytest.raises(SettingsError, match="wants parsing maps"):
        refuse_unsuited(wants_parsing, references=False, tile=0)


def test_references_are_seen_as_the_network_sees_them(tmp_path):
    from tests.datamodules.pictures import encoded, picture

    for i in range(2):
        (tmp_path / f"{i}.png").write_bytes(encoded("PNG", picture(32, 32, seed=i)))
    found = references_of(str(tmp_path), Crops(ffhq_view(16)))
    assert found.shape == (2, 3, 16, 16)
    with pytest.raises(SettingsError, match="no face found on"):
        references_of(str(tmp_path), Crops(ffhq_view(16), lambda _: []))
    (tmp_path / "2.png").write_bytes(b"")
    with pytest.raises(SettingsError, match="is empty"):
        references_of(str(tmp_path), Crops(ffhq_view(16)))


def test_a_judge_must_be_there(tmp_path):
    with pytest.raises(SettingsError, match="no checkpoint at"):
        judge_of(tmp_path)
