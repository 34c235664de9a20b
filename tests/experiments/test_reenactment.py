from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from datamodules.clip_writer import ClipWriter
from datamodules.clips import Clip
from datamodules.images import UnreadableImage
from datamodules.reading import Covering
from experiments import reenactment
from experiments.reenactment import Reenactment, Take, Told, inversion
from experiments.settings import SettingsError
from lightning_modules.checkpoints import read_checkpoint
from lightning_modules.inversion_base import Inversion
from lightning_modules.transfer import transferred
from tests.datamodules.test_containers import write_sound
from tests.datamodules.test_footage import Seen
from tests.experiments.carried import SIDE, frames, small_run, write_clip, write_photograph


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_run("inversion_ff_guided", tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def method(run: Path) -> Inversion:
    return inversion(run)


def written(method: Inversion, folder: Path, together: int = 16, detect: object = None) -> Told:
    made = Reenactment(method, write_photograph(folder / "face.png"), detect)
    take = Take(write_clip(folder / "clip.mp4"), 1, Fraction(25))
    writer = ClipWriter(folder / "out.mp4", made.size, take.rate, take.sound)
    return made.write(take, writer, together)


def test_a_runs_inversion_comes_with_its_trained_weights(run: Path, method: Inversion) -> None:
    state = read_checkpoint(run / "checkpoints" / "last.ckpt")["state_dict"]
    for name, value in method.network.state_dict().items():
        assert torch.equal(value, state[f"network.{name}"])
    assert not any(p.requires_grad for p in method.parameters())


def test_a_solver_leaves_the_images_of_its_run_behind(tmp_path: Path) -> None:
    solver = inversion(small_run("inversion_iterative_guide_init", tmp_path))
    assert solver.images is None
    assert solver.max_batches == 2


def test_a_run_that_inverts_nothing_is_refused(command: Callable[..., int], tmp_path: Path) -> None:
    assert command("fit", "--evaluate=false") == 0
    with pytest.raises(SettingsError, match=r"is of TinyTraining; a transfer takes a run of inv"):
        inversion(tmp_path / "runs" / "tiny_smoke")


def test_a_run_that_heeds_no_guide_is_refused_by_its_path(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(method: Inversion) -> None:
        raise ValueError("it heeds none")

    monkeypatch.setattr(reenactment, "refuse_unguided", refuse)
    with pytest.raises(SettingsError, match="inversion_ff_guided_smoke: it heeds none"):
        inversion(run)


def test_every_second_frame_of_a_clip_comes_at_half_the_rate_with_its_sound(tmp_path: Path) -> None:
    clip = write_sound(tmp_path / "clip.mp4")
    take = Take(clip, 2, Fraction(30))
    assert (take.rate, take.sound, len(list(take))) == (Fraction(25, 2), clip, 5)


def test_frames_of_a_folder_come_at_the_rate_that_is_told(tmp_path: Path) -> None:
    for i, frame in enumerate(frames()):
        Image.fromarray(frame).save(tmp_path / f"{i}.png")
    take = Take(tmp_path, 2, Fraction(30))
    assert (take.rate, take.sound) == (15, None)
    assert [(int(frame[0, 0, 0]), second) for frame, second in take] == [
        (shade, None) for shade in (0, 40, 80)
    ]


def test_the_clip_shows_guide_beside_result(method: Inversion, tmp_path: Path) -> None:
    told = written(method, tmp_path)
    clip = Clip(tmp_path / "out.mp4")
    assert (clip.size, clip.rate, told.frames) == ((SIDE, 2 * SIDE), 30, 5)
    small = [Covering(SIDE, SIDE)(frame) for frame in frames()]
    guides = torch.from_numpy(np.stack(small)).permute(0, 3, 1, 2) / 255
    with Image.open(tmp_path / "face.png") as image:
        face = torch.from_numpy(Covering(SIDE, SIDE)(np.array(image))).permute(2, 0, 1)[None] / 255
    made = transferred(method, face, guides).permute(0, 2, 3, 1).mul(255).numpy()
    for shown, guide, result in zip(clip.frames(), small, made, strict=True):
        assert np.abs(shown[:, :SIDE].astype(int) - guide).mean() < 4
        assert np.abs(shown[:, SIDE:].astype(int) - result).mean() < 8
    assert set(told.made) == set(told.guides) == {"own", "second"}
    cosine = torch.cosine_similarity(method.embedder(guides), method.embedder(face)).sum()
    assert told.guides["own"] == pytest.approx(float(cosine), abs=0.05)


def test_few_frames_at_a_time_give_the_same_as_all(method: Inversion, tmp_path: Path) -> None:
    found = [written(method, tmp_path, together) for together in (2, 16)]
    assert found[0].frames == found[1].frames == 5
    assert found[0].made == pytest.approx(found[1].made, abs=1e-4)


def test_frames_without_a_face_are_counted_and_kept(method: Inversion, tmp_path: Path) -> None:
    here = [(20.0, 20.0)]
    told = written(method, tmp_path, detect=Seen(here, [], here, [], [], here))
    assert (told.frames, told.faceless) == (5, 3)
    assert "3 without a face" in str(told)


def test_a_photograph_without_a_face_is_named(method: Inversion, tmp_path: Path) -> None:
    with pytest.raises(UnreadableImage, match=r"face\.png: shows no face"):
        Reenactment(method, write_photograph(tmp_path / "face.png"), Seen([]))


def test_what_is_told_holds_means_and_speed() -> None:
    told = Told(Path("out.mp4"), 4, 0, 2.0, {"own": 3.0}, {"own": 1.0})
    assert str(told) == (
        "4 frames in out.mp4; 2.0 faces made a second\n"
        "mean cosine with the photograph, by judge (in brackets: of the frames): own 0.750 (0.250)"
    )
