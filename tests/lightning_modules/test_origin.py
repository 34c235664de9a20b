import pytest
import torch

from lightning_modules.checkpoints import CheckpointError
from lightning_modules.origin import (
    FORMAT,
    changed_settings,
    check_origin,
    check_plan,
    check_shapes,
)


def test_a_checkpoint_of_the_same_method_and_format_is_taken() -> None:
    check_origin({"format": FORMAT, "method": "CRN"}, "CRN")


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"format": FORMAT + 1, "method": "CRN"}, f"reads up to {FORMAT}: update the suite"),
        ({"format": FORMAT, "method": "ISPL", "path": "a.ckpt"}, r"a\.ckpt is of ISPL, not of CRN"),
    ],
)
def test_another_origin_is_named(state: dict, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        check_origin(state, "CRN")


def test_the_first_weight_that_does_not_fit_is_named() -> None:
    ours = {"a": torch.zeros(2), "b": torch.zeros(3)}
    check_shapes(ours, ours, "a.ckpt")
    with pytest.raises(CheckpointError, match=r"b is \(4,\) there and \(3,\) here"):
        check_shapes(ours, {"a": torch.zeros(2), "b": torch.zeros(4)}, "a.ckpt")
    with pytest.raises(CheckpointError, match=r"b is None there"):
        check_shapes(ours, {"a": torch.zeros(2)}, "a.ckpt")


def test_changed_settings_are_listed_by_key() -> None:
    before, now = "a: {b: 1, c: [1, 2]}\nrun_dir: x", "a: {b: 2, c: [1, 2]}\nd: 3\nrun_dir: y"
    assert changed_settings(before, now) == ["a.b: 1 -> 2", "d: None -> 3"]
    assert changed_settings("", now) == []


def test_weights_of_another_plan_are_refused_though_all_shapes_fit() -> None:
    ours = {"a": torch.zeros(2), "net.genotype": torch.tensor([1, 2], dtype=torch.uint8)}
    check_plan(ours, ours, "net.genotype", "a.ckpt")
    check_plan(ours, {"a": torch.ones(2)}, "", "a.ckpt")
    other = ours | {"net.genotype": torch.tensor([2, 1], dtype=torch.uint8)}
    with pytest.raises(CheckpointError, match=r"a\.ckpt was trained with another genotype"):
        check_plan(ours, other, "net.genotype", "a.ckpt")
    with pytest.raises(CheckpointError, match=r"a\.ckpt does not tell its genotype"):
        check_plan(ours, {"a": torch.zeros(2)}, "net.genotype", "a.ckpt")
