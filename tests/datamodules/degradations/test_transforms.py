import random

import albumentations
import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from datamodules.augmentation import Augmentation
from datamodules.degradations.noise import GaussianNoise
from datamodules.degradations.presets import Gfpgan
from datamodules.degradations.transforms import Degrade
from datamodules.stream import Key, StepSampler, sample_generator

NOISE = GaussianNoise(0.1, 0.1)


def picture(height: int = 24, width: int = 33) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def grey_picture() -> np.ndarray:
    return np.full((24, 33, 3), 128, np.uint8)


def seeded(pipeline: albumentations.Compose, seed: int) -> albumentations.Compose:
    pipeline.set_random_state(np.random.default_rng(seed), random.Random(seed))
    return pipeline


def test_a_pipeline_obeys_the_state_it_is_given():
    pipeline = albumentations.Compose([Degrade(Gfpgan())])
    first, again, other = (seeded(pipeline, k)(image=picture())["image"] for k in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    goes_on = pipeline(image=picture())["image"]
    assert not np.array_equal(other, goes_on)


def test_it_composes_with_transforms_before_and_after_it():
    pipeline = albumentations.Compose(
        [albumentations.HorizontalFlip(p=1), Degrade(NOISE), albumentations.ToFloat(max_value=255)]
    )
    seen = seeded(pipeline, 0)(image=picture())["image"]
    assert seen.dtype == np.float32
    assert 0.05 < (seen - picture()[:, ::-1] / 255).std() < 0.11
    alone = Degrade(NOISE)
    alone.set_random_state(np.random.default_rng(0), random.Random(0))
    expected = alone(image=np.ascontiguousarray(picture()[:, ::-1]))["image"]
    assert np.array_equal(np.rint(255 * seen), expected)


def test_float_pictures_are_taken_too():
    pipeline = albumentations.Compose([albumentations.ToFloat(max_value=255), Degrade(NOISE)])
    seen = seeded(pipeline, 0)(image=picture())["image"]
    assert seen.dtype == np.float32
    assert 0 <= seen.min() < seen.max() <= 1


def test_targets_of_another_type_are_left_alone_and_images_share_one_draw():
    pipeline = albumentations.Compose(
        [Degrade(NOISE)], additional_targets={"target": "mask", "other": "image"}
    )
    pictures = {name: grey_picture() for name in ("image", "target", "other")}
    seen = seeded(pipeline, 0)(**pictures, mask=np.ones((24, 33), np.uint8))
    assert np.array_equal(seen["target"], grey_picture())
    assert (seen["mask"] == 1).all()
    assert not np.array_equal(seen["image"], grey_picture())
    assert np.array_equal(seen["image"], seen["other"])
    assert np.array_equal(pictures["image"], grey_picture())


def test_it_acts_as_often_as_its_probability_says():
    pipeline = seeded(albumentations.Compose([Degrade(NOISE, p=0.25)]), 0)
    changed = [(pipeline(image=grey_picture())["image"] != 128).any() for _ in range(1000)]
    assert abs(np.mean(changed) - 0.25) < 0.05


def test_a_replay_gives_the_same_picture():
    pipeline = albumentations.ReplayCompose([Degrade(NOISE)])
    first = pipeline(image=picture())
    again = albumentations.ReplayCompose.replay(first["replay"], image=picture())
    assert np.array_equal(first["image"], again["image"])


def test_two_degradations_of_a_pipeline_draw_independently():
    augmentation = Augmentation(albumentations.Compose([Degrade(NOISE), Degrade(NOISE)]))
    once = Augmentation(albumentations.Compose([Degrade(NOISE)]))
    grey = np.full((64, 64, 3), 128, np.uint8)
    twice, single = (
        each.alone(grey, np.random.default_rng(0)).astype(float) for each in (augmentation, once)
    )
    assert single.std() < twice.std() < 1.6 * single.std()  # the same twice would be twice as much


class Noisy(Dataset):
    """One grey picture, degraded by the generator of its key."""

    def __init__(self) -> None:
        self.augmentation = Augmentation(albumentations.Compose([Degrade(NOISE)]))

    def __getitem__(self, key: Key) -> torch.Tensor:
        return torch.from_numpy(
            self.augmentation.alone(grey_picture(), sample_generator(7, *key)).copy()
        )


def batches(workers: int) -> torch.Tensor:
    sampler = StepSampler(5, 4, seed=3, rank=0, world=1)
    loader = DataLoader(
        Noisy(),
        batch_sampler=sampler,
        num_workers=workers,
        multiprocessing_context="fork" if workers else None,
    )
    return torch.cat([batch for batch, _ in zip(loader, range(6), strict=False)])


def test_the_number_of_workers_changes_nothing_and_no_two_samples_have_the_same_noise():
    alone = batches(0)
    assert torch.equal(alone, batches(2))
    assert len({sample.numpy().tobytes() for sample in alone}) == len(alone) == 24
    noise = alone.float().flatten(1) - 128
    likeness = torch.corrcoef(noise) - torch.eye(24)
    assert likeness.abs().max() < 0.12
