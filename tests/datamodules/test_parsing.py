import numpy as np
import pytest
import torch
from albumentations import Compose, HorizontalFlip, Rotate
from PIL import Image

from datamodules.augmentation import Augmentation
from datamodules.degradations.ispl import Noise
from datamodules.drawing.parts import MIRRORED, Part
from datamodules.images import UnreadableImage
from datamodules.loading import as_floats
from datamodules.parsing import (
    CELEBAMASK,
    ParsedPhotographs,
    Parsing,
    ParsingMaps,
    read_labels,
    resize_labels,
)
from datamodules.photographs import DegradedPhotographs, Making

FOUR = Parsing(classes=4, mirrored=((1, 2),))
NUMBERS = np.array([0, 7, 65000])
ALWAYS = Augmentation(Compose([HorizontalFlip(p=1)]))


def labels_of(seed, size=16, classes=4):
    return np.random.default_rng(seed).integers(0, classes, (size, size), np.uint8)


def write(root, numbers=NUMBERS, size=16, folder="parsing"):
    for number in numbers:
        path = root / folder / f"{number // 1000 * 1000:05d}" / f"{number:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(labels_of(number, size)).save(path)
    return root


class Made:
    """Photographs that show their own labels, in red."""

    people = np.array([4, 5, 4])

    def __len__(self):
        return len(NUMBERS)

    def name(self, i):
        return f"00000/{NUMBERS[i]:05d}"

    def picture(self, i):
        picture = np.full((16, 16, 3), 100, np.uint8)
        picture[:, :, 0] = labels_of(NUMBERS[i])
        return picture


def samples(root, making, settings=FOUR):
    return ParsedPhotographs(Made(), settings.maps(write(root), NUMBERS, 16), making)


def test_a_sample_has_a_plane_for_each_class_that_is_one_where_it_shows(tmp_path):
    sample = as_floats(samples(tmp_path, Making(None, None, 0))[0, 1])
    assert sample["parsing"].shape == (4, 16, 16)
    assert sample["parsing"].dtype == torch.float32
    assert (sample["parsing"].sum(0) == 1).all()
    assert np.array_equal(sample["parsing"].argmax(0), labels_of(7))
    assert (sample["name"], sample["identity"]) == ("00000/00007", 5)


@pytest.mark.parametrize("augmentation", [None, Augmentation(), ALWAYS])
def test_all_else_is_what_photographs_without_maps_give(tmp_path, augmentation):
    making = Making(Noise(), augmentation, 3)
    ours, plain = samples(tmp_path, making), DegradedPhotographs(Made(), making)
    assert len(ours) == len(plain)
    for key in ((epoch, i) for epoch in range(5) for i in range(3)):
        one, other = ours[key], plain[key]
        assert one.keys() == other.keys() | {"parsing"}
        assert all(torch.equal(one[name], other[name]) for name in ("image", "target", "label"))


def test_a_mirrored_map_is_mirrored_and_its_sides_change_names(tmp_path):
    sample = samples(tmp_path, Making(None, ALWAYS, 0))[0, 0]
    swapped = np.array([0, 2, 1, 3])[labels_of(0)[:, ::-1]]
    assert np.array_equal(sample["parsing"].argmax(0), swapped)
    shown = np.array([0, 2, 1, 3])[sample["target"][0]]
    assert np.array_equal(sample["parsing"].argmax(0), shown)


def test_a_map_follows_its_picture_whatever_is_drawn(tmp_path):
    data = samples(tmp_path, Making(None, Augmentation(), 0))
    seen = set()
    for epoch in range(20):
        shown = np.asarray(data[epoch, 0]["target"][0])
        mirrored = np.array_equal(shown, labels_of(0)[:, ::-1])
        seen.add(mirrored)
        expected = np.array([0, 2, 1, 3])[shown] if mirrored else shown
        assert np.array_equal(data[epoch, 0]["parsing"].argmax(0), expected)
    assert seen == {True, False}


def test_a_corner_that_a_turn_leaves_empty_is_background(tmp_path):
    turned = Augmentation(Compose([Rotate((45, 45), border_mode=0, p=1)]))
    sample = samples(tmp_path, Making(None, turned, 0))[0, 0]
    assert (sample["parsing"][0, 0, 0], sample["parsing"][0, -1, -1]) == (255, 255)


def test_the_sides_of_celebamask_hq_are_known():
    labels = np.arange(19, dtype=np.uint8)[None]
    swapped = CELEBAMASK.swapped(labels)[0]
    assert {int(label) for label in labels[0] if swapped[label] != label} == {
        label for pair in MIRRORED for label in pair
    }
    assert swapped[Part.LEFT_EAR] == Part.RIGHT_EAR
    assert np.array_equal(CELEBAMASK.swapped(CELEBAMASK.swapped(labels)), labels)


def test_maps_are_found_by_number_in_folders_or_flat_and_in_the_order_asked_for(tmp_path):
    write(tmp_path)
    (tmp_path / "parsing/00000/00007.png").rename(tmp_path / "parsing/00007.png")
    maps = FOUR.maps(tmp_path, NUMBERS[::-1], 16)
    assert np.array_equal(maps.labels(1), labels_of(7))
    assert np.array_equal(maps.labels(0), labels_of(65000))


def test_a_larger_map_is_reduced_to_the_labels_at_the_middle_of_its_pixels(tmp_path):
    large = np.kron(labels_of(3), np.ones((3, 3), np.uint8))
    assert np.array_equal(resize_labels(large, 16), labels_of(3))
    assert np.array_equal(resize_labels(labels_of(3), 48), large)
    write(tmp_path, [0], size=64)
    labels = FOUR.maps(tmp_path, NUMBERS[:1], 16).labels(0)
    assert labels.shape == (16, 16)
    assert {*labels.flatten().tolist()} <= {0, 1, 2, 3}


def test_indices_of_a_palette_are_labels(tmp_path):
    path = tmp_path / "0.png"
    for classes in (4, 19):  # the smaller one is stored with 2 bits a pixel
        image = Image.fromarray(labels_of(1, classes=classes), "P")
        image.putpalette([value for k in range(classes) for value in (9 * k, 0, 255 - k)])
        image.save(path)
        assert np.array_equal(read_labels(path), labels_of(1, classes=classes))


def few_bits(path):
    Image.fromarray(labels_of(1) > 1).save(path)


def colours(path):
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path)


def deep(path):
    Image.fromarray(np.zeros((16, 16), np.uint16)).save(path)


def cut(path):
    Image.fromarray(labels_of(1)).save(path)
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (few_bits, "has pixels of kind 1; labels are 8-bit grey or indices of a palette"),
        (colours, "has pixels of kind RGB"),
        (deep, "has pixels of kind I;16"),
        (cut, "cannot be decoded"),
        (lambda path: path.write_bytes(b"no picture"), "cannot be decoded"),
    ],
)
def test_a_file_that_is_no_map_is_refused_by_name(tmp_path, made, said):
    made(tmp_path / "00003.png")
    with pytest.raises(UnreadableImage, match=rf"00003\.png: .*{said}"):
        read_labels(tmp_path / "00003.png")


def test_a_lossy_file_is_refused(tmp_path):
    with pytest.raises(UnreadableImage, match=r"00003\.jpg: is no PNG"):
        read_labels(tmp_path / "00003.jpg")


def test_a_label_that_is_no_class_is_refused_with_its_file(tmp_path):
    write(tmp_path)
    maps = Parsing(classes=3, mirrored=()).maps(tmp_path, NUMBERS, 16)
    with pytest.raises(UnreadableImage, match=r"00007\.png: holds label 3, .* 0 to 2: set"):
        maps.labels(1)
    with pytest.raises(ValueError, match=r"labels must be 0 to 3, got 200"):
        FOUR.planes(np.full((2, 2), 200, np.uint8))


def test_an_oblong_map_is_refused(tmp_path):
    write(tmp_path)
    Image.fromarray(labels_of(1, 20)[:, :16]).save(tmp_path / "parsing/00000/00007.png")
    with pytest.raises(UnreadableImage, match=r"00007\.png: is 16 x 20, not square"):
        FOUR.maps(tmp_path, NUMBERS, 16).labels(1)
    with pytest.raises(ValueError, match=r"1 of 3 pictures .*16 x 20, not square"):
        FOUR.check(tmp_path, NUMBERS, "header")


def test_a_missing_folder_is_told_with_what_to_put_there(tmp_path):
    said = r"no folder .*parsing: put a parsing map .* NNNNN\.png .* 0 to 18"
    for look in (CELEBAMASK.check, CELEBAMASK.maps):
        with pytest.raises(FileNotFoundError, match=said):
            look(tmp_path, NUMBERS, "header" if look == CELEBAMASK.check else 16)


def test_photographs_without_a_map_are_counted_and_the_first_named(tmp_path):
    write(tmp_path, [7])
    said = (
        r"2 of 3 photographs have no parsing map in .*parsing; the first is 00000: add 00000\.png"
    )
    with pytest.raises(ValueError, match=said):
        FOUR.check(tmp_path, NUMBERS, "full")
    with pytest.raises(ValueError, match=said):
        FOUR.maps(tmp_path, NUMBERS, 16)


def test_broken_maps_are_found_before_training_and_those_not_used_are_not_looked_at(tmp_path):
    write(tmp_path, [*NUMBERS, 8])
    (tmp_path / "parsing/00000/00008.png").write_bytes(b"")
    FOUR.check(tmp_path, NUMBERS, "full")
    (tmp_path / "parsing/00000/00007.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 3 pictures .*00007\.png: is empty"):
        FOUR.check(tmp_path, NUMBERS, "full")


def test_as_many_maps_as_photographs_are_wanted(tmp_path):
    maps = FOUR.maps(write(tmp_path), NUMBERS[:2], 16)
    assert isinstance(maps, ParsingMaps)
    with pytest.raises(ValueError, match="3 photographs have 2 maps"):
        ParsedPhotographs(Made(), maps, Making(None, None, 0))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"classes": 0, "mirrored": ()}, r"classes must be in \[1, 256\], got 0"),
        ({"classes": 257}, "got 257"),
        ({"classes": 4}, r"labels of 0 to 3, .* got \(\(4, 5\), \(6, 7\), \(8, 9\)\)"),
        ({"mirrored": ((1, 2), (2, 3))}, "each in one pair"),
    ],
)
def test_impossible_labels_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Parsing(**wrong)
