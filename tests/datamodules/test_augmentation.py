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


SIDES = np.repeat(np.repeat(np.array([[1, 2], [3, 4]], np.uint8), 8, 0), 8, 1)  # four quarters
SEEN = np.repeat(SIDES[:, :, None], 3, 2)
WAYS = {
    "nothing": (A.NoOp(p=1), False),
    "left and right": (A.HorizontalFlip(p=1), True),
    "up and down": (A.VerticalFlip(p=1), True),
    "both": (A.Compose([A.HorizontalFlip(p=1), A.VerticalFlip(p=1)]), False),
    "a diagonal": (A.Transpose(p=1), True),
    "a quarter turn": (A.RandomRotate90(p=1), False),
    "a slant": (A.Affine(rotate=(20, 30), scale=0.8, p=1), False),
    "a mirrored slant": (A.Compose([A.HorizontalFlip(p=1), A.Rotate((60, 80), p=1)]), True),
    "a crop": (A.RandomCrop(12, 12, p=1), False),
    "a mirrored crop": (A.Compose([A.RandomCrop(12, 12, p=1), A.HorizontalFlip(p=1)]), True),
}


@pytest.mark.parametrize("way", WAYS)
def test_labels_move_with_their_picture_and_a_mirror_is_noticed(way):
    transform, expected = WAYS[way]
    pipeline = transform if isinstance(transform, A.Compose) else A.Compose([transform])
    for seed in range(8):
        generators = [np.random.default_rng(seed) for _ in range(2)]
        image, labels, mirrored = Augmentation(pipeline).labelled(SEEN, SIDES, generators[0])
        assert mirrored == expected
        assert np.array_equal(image, Augmentation(pipeline).alone(SEEN, generators[1]))
        assert labels.dtype == np.uint8
        if "slant" not in way:  # at whose edges the picture mixes colours and labels do not
            assert np.array_equal(labels, image[:, :, 0])
        assert {*labels.flatten().tolist()} <= {0, 1, 2, 3, 4}


def test_labels_do_not_change_what_is_drawn_next():
    generators = [np.random.default_rng(7) for _ in range(2)]
    Augmentation().labelled(SEEN, SIDES, generators[0])
    Augmentation().alone(SEEN, generators[1])
    assert generators[0].random() == generators[1].random()
