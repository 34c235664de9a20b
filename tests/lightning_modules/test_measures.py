from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from lightning_modules.measures import Measures
from lightning_modules.scores import Scores
from ops.metrics.convention import SUPER_RESOLUTION
from ops.metrics.niqe import FEATURES, NiqeModel, gaussian_window


class MeanColour(nn.Module):
    """A judge to whom a face is its mean colour."""

    def forward(self, image: Tensor) -> Tensor:
        return image.mean((2, 3))


def some(side: int = 40) -> tuple[Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    target = torch.rand(2, 3, side, side)
    output = (target + 0.1 * torch.rand_like(target)).clamp(0, 1)
    return output, target, torch.ones(2, 1, side, side)


def table_of(measures: Measures, side: int = 40) -> dict[str, float]:
    scores = Scores(measures)
    output, target, region = some(side)
    scores.update(output, output, target, region, None, 1.0)
    return scores.table()["output"]


def niqe_file(folder: Path) -> str:
    path = folder / "niqe.npz"
    NiqeModel(
        torch.zeros(FEATURES, dtype=torch.float64),
        torch.eye(FEATURES, dtype=torch.float64),
        gaussian_window(),
    ).write(str(path))
    return str(path)


def test_without_files_there_are_no_further_columns():
    assert Measures().each == ()
    assert not {"lpips", "niqe", "fid", "ms_ssim"} & table_of(Measures()).keys()


def test_each_judge_has_its_own_columns():
    measures = Measures(judges={"colour": MeanColour(), "again": MeanColour()})
    table = table_of(measures)
    output, target, _ = some()
    apart = (output.mean((2, 3)) - target.mean((2, 3))).norm(dim=1).mean()
    assert table["fed_colour"] == table["fed_again"] == pytest.approx(float(apart), rel=1e-5)
    assert table["identity_colour"] > 0.99
    assert "identity_x" in Scores(measures).definitions


def test_an_untrained_judge_forbids_comparison():
    judge = MeanColour()
    assert "untrained" in Scores(Measures(judges={"colour": judge})).caveat
    judge.comparable = True
    assert Scores(Measures(judges={"colour": judge})).caveat == ""


def test_judges_are_no_part_of_a_checkpoint():
    assert not Scores(Measures(judges={"colour": nn.Linear(3, 3)})).state_dict()


def test_niqe_is_of_the_output_alone(tmp_path: Path):
    measures = Measures(niqe=niqe_file(tmp_path))
    (measure,) = measures.each
    output, target, _ = some(200)
    assert torch.equal(measure(output, target)["niqe"], measure(output, output)["niqe"])
    assert table_of(measures, 200)["niqe"] > 0
    assert "niqe:" in measures.definition


def test_a_convention_changes_psnr_and_what_the_table_says():
    plain, other = Measures(), Measures(convention=SUPER_RESOLUTION)
    assert table_of(plain)["psnr"] != table_of(other)["psnr"]
    assert SUPER_RESOLUTION.sentence in Scores(other).definitions
    output, target, _ = some()
    a, b = SUPER_RESOLUTION.prepare(output), SUPER_RESOLUTION.prepare(target)
    expected = -10 * (a - b).square().mean((1, 2, 3)).log10()
    assert table_of(other)["psnr"] == pytest.approx(float(expected.mean()), abs=1e-3)


def test_five_scales_need_room():
    assert 0 < table_of(Measures(ms_ssim=True), 176)["ms_ssim"] < 1
    with pytest.raises(ValueError, match="at least 161 pixels a side, got 40 x 40"):
        table_of(Measures(ms_ssim=True))


@pytest.mark.parametrize("name", ["lpips", "niqe"])
def test_a_missing_file_is_named(name: str):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        Scores(Measures(**{name: "nowhere"}))


def test_fid_of_equal_sets_is_0_and_grows_with_their_distance():
    class Features(nn.Module):
        dimensions = 3

        def forward(self, image: Tensor) -> Tensor:
            return image.mean((2, 3))

    measures = Measures()
    measures.__dict__["features"] = Features()  # in place of Inception's, whose file nobody has
    output, target, region = some()
    scores = Scores(measures)
    scores.update(target, output, target, region, None, 1.0)
    table = scores.table()
    assert table["identity"]["fid"] == pytest.approx(0, abs=1e-9)
    assert table["output"]["fid"] > 1e-4
