import hashlib
import pickle
import re
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ops.nets.weights import known_hashes, origin, read_weights, sha256_of, verify

STATE = {"layer.weight": torch.arange(6.0).view(2, 3)}


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


class Payload:
    """A pickle that leaves a file behind when it is run."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self):
        return Path.touch, (self.trace,)


def test_both_kinds_of_file_hold_the_same_tensors(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    save_file(STATE, tmp_path / "a.safetensors")
    for name in ("a.pth", "a.safetensors"):
        path = tmp_path / name
        found = read_weights(path, digest(path).upper())
        assert found.keys() == STATE.keys()
        assert torch.equal(found["layer.weight"], STATE["layer.weight"])


def test_a_tampered_file_is_refused_with_its_expected_and_found_hash(tmp_path):
    path = tmp_path / "a.pth"
    torch.save(STATE, path)
    expected = digest(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(ValueError, match=f"has sha256 {digest(path)}, expected {expected}"):
        read_weights(path, expected)


def test_a_name_that_promises_a_hash_is_held_to_it(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    right = (tmp_path / "a.pth").rename(tmp_path / "net-00000000.pth")  # no letter: may be a date
    assert read_weights(right).keys() == STATE.keys()
    wrong = right.rename(tmp_path / "net-dcbb9e9d.pth")
    with pytest.raises(ValueError, match=r"expected dcbb9e9d\.\.\. as its name says"):
        read_weights(wrong)
    assert read_weights(wrong, digest(wrong)).keys() == STATE.keys()
    blob = tmp_path / "blob"
    count = 0
    while not any(c in "abcdef" for c in hashlib.sha256(b"%d" % count).hexdigest()[:8]):
        count += 1
    blob.write_bytes(b"%d" % count)
    verify(blob.rename(tmp_path / f"net-{digest(blob)[:8]}.pth"))


@pytest.mark.parametrize("name", sorted(known_hashes()))
def test_another_file_under_the_name_of_a_published_one_is_refused(name, tmp_path):
    torch.save(STATE, tmp_path / name)
    found = digest(tmp_path / name)
    with pytest.raises(ValueError, match=f"sha256 {found}, expected {known_hashes()[name]} as the"):
        verify(tmp_path / name)
    with pytest.raises(ValueError, match=r"get it again \(make weights\), or, .* its own sha256"):
        read_weights(tmp_path / name)
    verify(tmp_path / name, found)  # whoever gives a hash means it


def test_the_published_hashes_are_whole_and_a_file_that_has_one_is_taken(tmp_path, monkeypatch):
    assert all(re.fullmatch("[0-9a-f]{64}", each) for each in known_hashes().values())
    torch.save(STATE, tmp_path / "20180402-114759-vggface2.pt")
    monkeypatch.setitem(
        known_hashes(),
        "20180402-114759-vggface2.pt",
        digest(tmp_path / "20180402-114759-vggface2.pt"),
    )
    assert read_weights(tmp_path / "20180402-114759-vggface2.pt").keys() == STATE.keys()


def test_a_part_of_a_hash_is_not_enough_where_one_is_given(tmp_path):
    torch.save(STATE, tmp_path / "a.pth")
    with pytest.raises(ValueError, match=r"expected [0-9a-f]{8}: it is damaged"):
        verify(tmp_path / "a.pth", digest(tmp_path / "a.pth")[:8])


def test_the_origin_is_the_name_and_the_start_of_the_hash(tmp_path):
    (tmp_path / "net.pt").write_bytes(b"abc")  # whose hash stands in FIPS 180-2
    assert origin(str(tmp_path / "net.pt")) == "net.pt (sha256 ba7816bf)"
    assert sha256_of(tmp_path / "net.pt") == digest(tmp_path / "net.pt")


def test_nothing_in_a_file_is_run(tmp_path):
    trace = tmp_path / "trace"
    (tmp_path / "bad.pth").write_bytes(pickle.dumps(Payload(trace)))
    torch.save({"a": Payload(trace)}, tmp_path / "worse.pth")
    for name in ("bad.pth", "worse.pth"):
        with pytest.raises(ValueError, match=f"{name} cannot be read as weights"):
            read_weights(tmp_path / name)
    assert not trace.exists()


@pytest.mark.parametrize("content", [{"state_dict": STATE}, [torch.zeros(1)], {"epoch": 3}])
def test_what_is_no_state_dict_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "a.pth")
    with pytest.raises(ValueError, match="holds no state dict"):
        read_weights(tmp_path / "a.pth")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no weights at .*none\.pth"):
        read_weights(tmp_path / "none.pth")
