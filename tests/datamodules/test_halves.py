import pytest
from PIL import Image

from datamodules.halves import check_shapes, paired
from datamodules.index import make_index
from tests.datamodules.pictures import picture


def write(root, *names, height=16):
    for name in names:
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(height, 16)).save(path)


def index(root):
    return make_index(root, "full")


def test_halves_of_one_name_stand_beside_each_other_whatever_their_endings(tmp_path):
    write(tmp_path, "a/x/1.png", "a/x/2.png", "a/0.png", "b/x/2.tif", "b/0.jpg", "b/x/1.png")
    write(tmp_path, "c/other.png")
    files = index(tmp_path)
    pairs = paired(files, "a", "b")
    assert pairs.names == ["0", "x/1", "x/2"]
    assert [files.name(i) for i in pairs.images] == ["a/0.png", "a/x/1.png", "a/x/2.png"]
    assert [files.name(i) for i in pairs.targets] == ["b/0.jpg", "b/x/1.png", "b/x/2.tif"]
    some = pairs.some(pairs.images[:0])
    assert (some.names, len(some.images), len(some.targets)) == ([], 0, 0)


def test_some_of_the_pairs_keep_their_halves(tmp_path):
    write(tmp_path, *(f"{half}/{k}.png" for half in "ab" for k in range(4)))
    files = index(tmp_path)
    pairs = paired(files, "b", "a")
    some = pairs.some(pairs.targets[[3, 1]] - pairs.targets[0])
    assert some.names == ["3", "1"]
    assert [files.name(i) for i in some.images] == ["b/3.png", "b/1.png"]
    assert [files.name(i) for i in some.targets] == ["a/3.png", "a/1.png"]


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("t/a/1.png", "t/b/1.png", "t/a/2.png"), r"1 of 2 .* in .*t lack .*a/2\.png, .*in t/b$"),
        (("t/a/1.png", "t/b/1.png", "t/b/2.png"), r"1 of 2 .* in .*t lack .*b/2\.png, .*in t/a$"),
        (("t/a/1.png", "t/a/1.tif", "t/b/1.png"), r"a/1\.png and .*a/1\.tif have one name"),
    ],
)
def test_what_cannot_be_paired_is_named(tmp_path, names, told):
    write(tmp_path, *names)
    with pytest.raises(ValueError, match=told):
        paired(index(tmp_path), "t/a", "t/b")


def test_halves_of_two_shapes_are_named(tmp_path):
    write(tmp_path, "a/1.png", "b/1.png", "a/2.png")
    write(tmp_path, "b/2.png", height=20)
    files = index(tmp_path)
    pairs = paired(files, "a", "b")
    with pytest.raises(ValueError, match=r"1 of 2 pairs .*a/2\.png, 16 x 16 beside 16 x 20"):
        check_shapes(files, pairs)
    check_shapes(files, pairs.some(pairs.images[:1] - pairs.images[0]))
