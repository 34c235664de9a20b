import re
from urllib.parse import urlparse

import pytest

from experiments.external import TABLE, find, hashes_in
from experiments.settings import SettingsError
from ops.nets.weights import known_hashes


def test_every_entry_is_told_in_full():
    assert len({item.name for item in TABLE}) == len({item.file for item in TABLE}) == len(TABLE)
    for item in TABLE:
        assert urlparse(item.url).scheme == "https"
        assert item.purpose
        assert item.licence
        assert "/" not in item.file
        assert item.name.isidentifier()


def test_hashes_are_whole_or_missing_and_agree_with_the_names_of_files():
    hashes = {item.file: item.sha256 for item in TABLE}
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in hashes.values() if each)
    promised = {file: re.search(r"-([0-9a-f]{8})\.pth$", file) for file in hashes}
    named = {file: found.group(1) for file, found in promised.items() if found}
    assert len(named) == 3
    assert all(str(hashes[file]).startswith(start) for file, start in named.items())


def test_the_networks_hold_files_to_the_same_hashes():
    assert {item.file: item.sha256 for item in TABLE if item.sha256} == known_hashes()


def test_a_list_is_read_as_sha256sum_writes_it(tmp_path):
    (tmp_path / "list").write_text(f"{'a' * 64}  one.pth\n{'b' * 64}  two parts.pth\n")
    assert hashes_in(tmp_path / "list") == {"one.pth": "a" * 64, "two parts.pth": "b" * 64}
    assert hashes_in(tmp_path / "none") == {}


def test_an_unknown_name_is_told_the_nearest():
    assert find("yunet").file.endswith(".onnx")
    with pytest.raises(SettingsError, match=r"no weights 'vgg18': did you mean 'vgg19'\?"):
        find("vgg18")
