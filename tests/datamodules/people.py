"""Sets of made pictures that say who is on them, in the trees of CelebA and VGGFace2."""

import os
from itertools import islice

import numpy as np
from PIL import Image

from datamodules.degradations.base import Degraded, Step
from tests.datamodules.pictures import picture

CELEBA_SPLITS = {"train": (0, 1), "val": (1, 162_771), "test": (2, 182_638)}


class Noise:
    """Adds drawn numbers, and says which was the first."""

    def __call__(self, image, generator):
        drawn = generator.integers(0, 60, image.shape, np.uint8)
        steps = (Step("noise", "numbers", {"first": int(drawn[0, 0, 0])}),)
        return Degraded(np.minimum(image, 195) + drawn, steps)


def write_celeba(root, counts, lists=None):
    """`counts`: on how many photographs each person of a split is; people from 1, in order."""
    partition, identity, person = [], [], 0
    for split, people in counts.items():
        value, number = CELEBA_SPLITS[split]
        for count in people:
            person += 1
            for _ in range(count):
                write_face(root / "img_align_celeba" / f"{number:06d}.jpg", number)
                partition.append(f"{number:06d}.jpg {value}\n")
                identity.append(f"{number:06d}.jpg {person}\n")
                number += 1
    partition_folder, identity_folder = lists or ("", "")
    write(root / partition_folder / "list_eval_partition.txt", "".join(partition))
    write(root / identity_folder / "identity_CelebA.txt", "".join(identity))
    return root


def write_people(root, counts, size=20):
    """`counts`: on how many photographs each person is, by the path of the person's folder."""
    for person, count in counts.items():
        for k in range(count):
            seed = [*person.encode(), k]
            write_face(root / person / f"{k:04d}_01.jpg", seed, height=size + k, width=size)
    return root


def write_face(path, seed, height=218, width=178):
    path.parent.mkdir(parents=True, exist_ok=True)
    small = Image.fromarray(picture(8, 8, seed=seed))
    small.resize((width, height)).save(path, quality=95)


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def assert_same_batches(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key, value in batch.items():
            assert np.array_equal(np.asarray(value), np.asarray(other[key])), key


def first_batches(data, count=6):
    return list(islice(data.train_dataloader(), count))


def names_of(batches):
    return [name for batch in batches for name in batch["name"]]


def refuse_to_list(monkeypatch):
    def refused(*arguments):
        raise AssertionError("the set was listed")

    for name in ("scandir", "listdir", "walk"):
        monkeypatch.setattr(os, name, refused)
