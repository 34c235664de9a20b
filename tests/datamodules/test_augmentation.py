from collections import Counter

import albumentations as A
import numpy as np
import pytest

from datamodules.augmentation import Augmentation

IMAGE = np.arange(12, dtype=np.uint8).reshape(2, 2, 3)


def test_two_transforms_of_a_pipeline_act_independently():
    pipeline = A.Compose([A.HorizontalFlip(p=0.5), A.OneOf([A.VerticalFlip(p=1)], p=0.5)])
    augmentation = Augmentation(pipeline)
    generators = (np.random.default_rng(seed) for seed in range(200))
    corners = Counter(int(augmentation.alone(IMAGE, g)[0, 0, 0]) for g in generators)
    assert sorted(corners) == [0, 3, 6, 9]
    assert min(corners.values()) > 25


def test_without_a_pipeline_pictures_are_mirrored_half_the_time():
    augmentation = Augmentation()
    seen = [augmentation.alone(IMAGE, np.random.default_rng(seed)) for seed in range(200)]
    mirrored = [np.array_equal(picture, IMAGE[:, ::-1]) for picture in seen]
    assert all(m or np.array_equal(p, IMAGE) for m, p in zip(mirrored, seen, strict=True))
    assert 70 < sum(mirrored) < 130


def test_two_pictures_together_get_one_draw():
    for seed in range(20):
        generator = np.random.default_rng(seed)
        image, target = Augmentation().together(IMAGE, IMAGE + 1, generator)
        assert np.array_equal(image + 1, target)


def test_what_is_no_pipeline_or_leaves_no_picture_is_refused():
    with pytest.raises(TypeError, match=r"must be an albumentations\.Compose"):
        Augmentation(A.HorizontalFlip())
    with pytest.raises(ValueError, match=r"must leave 8-bit pictures .* got float32"):
        Augmentation(A.Compose([A.ToFloat()])).alone(IMAGE, np.random.default_rng(0))
