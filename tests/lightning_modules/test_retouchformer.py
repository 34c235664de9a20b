from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import DDPStrategy
from torch import nn
from torch.utils.data import DataLoader, Dataset

from datamodules.stream import Key, StepSampler, sample_generator
from lightning_modules.retouchformer import Faces, RetouchFormer, Seen, Terms
from ops.losses.mask import image_difference, imperfection
from ops.nets.discriminator import PixelDiscriminator
from ops.nets.features import RandomFeatures
from ops.nets.prior import SharedPrior
from ops.nets.retouchformer import MaskSize, TokenSize
from ops.nets.retouchformer import RetouchFormer as Network
from ops.nets.transformer import SelectiveBlock
from tests.lightning_modules.tiny import trainer


def module() -> RetouchFormer:
    torch.manual_seed(0)
    network = Network(
        (8, 8, 8, 16),
        2,
        TokenSize(dim=16, levels=(0, 1, 2, 3), blocks=1),
        lambda dim: SelectiveBlock(dim, heads=2),
        lambda width: SharedPrior(width, codes=16, code_dim=8, widths=(8, 8, 8)),
        MaskSize(base=8, multipliers=(1, 1), start=0.5),
    )
    for head in (network.decoder.head, network.prior.decoder.head):
        nn.init.normal_(head.weight, std=0.1)  # zero would hide the gradients behind it
    made = RetouchFormer(network, PixelDiscriminator((8, 8)), RandomFeatures(4))
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    return made


@pytest.fixture
def faces() -> Faces:
    torch.manual_seed(1)
    raw = torch.rand(3, 3, 32, 32)
    retouched = raw.clone()
    retouched[:, :, 8:16, 8:16] += 0.1
    retouched[2] = torch.rand(3, 32, 32)  # the unpaired one is of another person
    return Faces(raw, retouched, 2)


def moved(made: RetouchFormer, loss: torch.Tensor) -> set[str]:
    """The parts of the training that a loss has a gradient for."""
    made.zero_grad()
    loss.backward()
    names = [name for name, p in made.named_parameters() if p.grad is not None and p.grad.any()]
    return {".".join(name.split(".")[:2]) for name in names}


Loss = Callable[[RetouchFormer, Faces, Seen], torch.Tensor]
CASES: dict[str, tuple[Loss, set[str]]] = {
    "prior": (
        lambda _, __, seen: seen.reconstruction.quantized.loss,
        {"network.encoder", "network.prior"},
    ),
    "reconstruction": (
        lambda made, faces, seen: made.reconstruction_loss(faces, seen),
        {"network.encoder", "network.prior"},
    ),
    "mask": (lambda made, faces, seen: made.mask_loss(faces, seen), {"network.masks"}),
    "output": (
        lambda made, faces, seen: made.output_loss(faces, seen),
        {
            "network.encoder",
            "network.tokenizer",
            "network.transformer",
            "network.detokenizer",
            "network.decoder",
        },
    ),
}


@pytest.mark.parametrize("term", CASES)
def test_each_term_moves_only_what_the_paper_minimises_it_over(term: str, faces: Faces) -> None:
    made = module()
    loss, expected = CASES[term]
    assert moved(made, loss(made, faces, made.see(faces))) == expected


def test_the_discriminators_loss_moves_the_discriminator_alone(faces: Faces) -> None:
    made = module()
    loss = made.discriminator_loss(faces, made.see(faces))
    assert {name.split(".")[0] for name in moved(made, loss)} == {"discriminator"}


def test_the_sum_has_each_terms_weight(faces: Faces) -> None:
    made = module()
    seen = made.see(faces)
    made.eval()  # the discriminator's spectral norm moves in training mode
    whole = float(made.generator_loss(faces, seen).detach())
    parts = {}
    for name in ("prior", "mask", "output", "adversarial"):
        made.terms = Terms(**dict.fromkeys(("prior", "mask", "output", "adversarial"), 0.0))
        object.__setattr__(made.terms, name, 1.0)
        parts[name] = float(made.generator_loss(faces, seen).detach())
    assert whole == pytest.approx(sum(parts.values()), rel=1e-5)
    assert all(parts.values())


def test_only_pairs_enter_the_output_loss(faces: Faces) -> None:
    made = module()
    seen = made.see(faces)
    other = faces._replace(retouched=faces.retouched.clone())
    other.retouched[2] = 0
    assert made.output_loss(faces, seen) == made.output_loss(other, seen)


def test_the_teacher_holds_no_gradient_and_is_no_players(faces: Faces) -> None:
    made = module()
    teachers = {id(p) for p in made.network.masks.teacher.parameters()}
    trained = {
        id(p)
        for optimizer in made.configure_optimizers()
        for group in optimizer.param_groups
        for p in group["params"]
    }
    assert teachers
    assert not teachers & trained
    assert len(trained) == sum(p.requires_grad for p in made.parameters())


def test_restored_images_are_in_range_and_masks_are_given(faces: Faces) -> None:
    restored = module().restore({"image": faces.raw})
    assert restored.mask is not None
    assert restored.mask.shape == (3, 1, 32, 32)
    low, high = restored.image.detach().aminmax()
    assert 0 <= float(low) <= float(high) <= 1


def test_wanted_is_what_the_retoucher_changed(faces: Faces) -> None:
    region = imperfection(faces.raw, faces.retouched)
    assert region[0].sum() == 64
    assert torch.equal(region[0] > 0, image_difference(faces.raw, faces.retouched)[0] > 0.3)


class TwoHalves(Dataset):
    """Faces as FFHQR gives them, one with a bad pixel if `poisoned` names it."""

    def __init__(self, poisoned: Key | None) -> None:
        self.poisoned = poisoned

    def __len__(self) -> int:
        return 16

    def __getitem__(self, key: Key) -> dict:
        generator = sample_generator(5, *key)
        raw = torch.from_numpy(generator.random((2, 3, 32, 32)))
        retouched = raw.roll(1, 0)  # of the other person, in the unpaired half
        retouched[0] = raw[0]
        retouched[0, :, 8:16, 8:16] *= 0.8
        if key == self.poisoned:
            raw[0, 0, 3, 3] = torch.nan
        halves = zip(("paired", "unpaired"), raw, retouched, strict=True)
        return {half: {"image": x, "target": y, "name": str(key)} for half, x, y in halves}


class TwoHalvesData(pl.LightningDataModule):
    def __init__(self, batch_size: int, poisoned: Key | None) -> None:
        super().__init__()
        self.batch_size, self.data, self.first_batch = batch_size, TwoHalves(poisoned), 0

    def train_dataloader(self) -> DataLoader:
        rank, world = self.trainer.global_rank, self.trainer.world_size
        sampler = StepSampler(len(self.data), self.batch_size, seed=3, rank=rank, world=world)
        return DataLoader(self.data, batch_sampler=sampler)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(self.data)  # Lightning asks for one; `trained` validates nothing


class KeepWeights(pl.Callback):
    """Writes what each process has at the end."""

    def on_train_end(self, trainer: pl.Trainer, pl_module: RetouchFormer) -> None:
        path = Path(trainer.default_root_dir) / f"rank{trainer.global_rank}.pt"
        torch.save((pl_module.state_dict(), pl_module.guard.skipped), path)


BATCHES = 4


def trained(folder: Path, processes: int, poisoned: Key | None = None) -> list[tuple[dict, int]]:
    """The weights and the number of skipped batches of each process, after 4 batches of 2."""
    made = module()
    made.max_batches = BATCHES
    codebook = made.network.prior.codebook
    codebook.started.fill_(True)  # fresh codes would come from rank 0's faces alone
    assert codebook.restart_after > BATCHES
    settings: dict = {"precision": "64-true", "limit_val_batches": 0, "devices": processes}
    if processes > 1:  # one that waits for the other in vain fails, and does not hang
        settings["strategy"] = DDPStrategy(
            start_method="fork", find_unused_parameters=True, timeout=timedelta(seconds=30)
        )
    run = trainer(folder, every=100, callbacks=[KeepWeights()], **settings)
    run.fit(made, TwoHalvesData(2 // processes, poisoned))
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(processes)]


def farthest(a: dict, b: dict) -> dict[str, float]:
    return {name: float((a[name].double() - b[name].double()).abs().max()) for name in a}


def test_two_processes_train_like_one_with_all_their_faces(tmp_path: Path) -> None:
    start = {name: value.clone() for name, value in module().state_dict().items()}
    ((one, _),) = trained(tmp_path / "one", 1)
    (two, _), (other, _) = trained(tmp_path / "two", 2)
    moves, differences = farthest(one, start), farthest(one, two)
    # What each weight has moved is right to 1e-5, not only the weight.
    assert {n: d for n, d in differences.items() if d > 1e-5 * moves[n] + 1e-12} == {}
    assert sum(move > 1e-4 for move in moves.values()) > 100
    assert all(torch.equal(two[name], other[name]) for name in two)


def test_a_bad_face_in_one_process_makes_both_skip_that_batch(tmp_path: Path) -> None:
    (poisoned,) = StepSampler(16, 1, seed=3, rank=1, world=2).batch(2)
    (first, skipped), (second, skipped_too) = trained(tmp_path, 2, poisoned)
    assert skipped == skipped_too == 1
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert all(value.isfinite().all() for value in first.values())
    lines = [(tmp_path / f"skipped_rank{rank}.csv").read_text() for rank in range(2)]
    assert all(line.startswith("3,") for line in lines)
    assert str(poisoned) in lines[1]
    assert str(poisoned) not in lines[0]
