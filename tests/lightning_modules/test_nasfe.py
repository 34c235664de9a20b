from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset

from datamodules.stream import StepSampler
from lightning_modules.checkpoints import CheckpointError
from lightning_modules.classifier import DegradationClassification, classification_loss
from lightning_modules.enhancement import References, Terms
from lightning_modules.nasfe import (
    FaceEnhancement,
    Pretrained,
    searched_fusion,
)
from lightning_modules.restoration import Restoration
from ops.losses.identity import identity_loss, perceptual_loss
from ops.nets.degradation_classifier import DegradationClassifier
from ops.nets.features import RandomFeatures
from ops.nets.genotype import Edge, Genotype
from ops.nets.nasfe import NASFE, identity_information
from ops.nets.task_encoder import Decoder, TaskAutoencoder, TaskEncoder
from tests.lightning_modules.tiny import (
    Faces,
    StopAfter,
    differences,
    everything,
    numbers,
    trainer,
)

WIDTHS, ENCODER, DECODER = (4, 4, 4, 8), (0, 0, 1, 1), (0, 0, 1)
PAPER, MSE, ALONG = Terms(), Terms(0.0, 0.0), Terms(classification=1.0)
FROM_SCRATCH = Pretrained()


def network(labels: bool = True, identity: int | None = 16) -> NASFE:
    fusion = nn.Conv2d(8, 8, 3, padding=1)
    return NASFE(fusion, 8, labels, identity, WIDTHS, ENCODER, DECODER, 8)


def module(
    terms: Terms = PAPER,
    made: NASFE | None = None,
    dropout: float = 0.5,
    at_test: bool = True,
    pretrained: Pretrained = FROM_SCRATCH,
    batches: int = 4,
) -> FaceEnhancement:
    torch.manual_seed(0)
    references = References(RandomFeatures(4), dropout, at_test)
    classifier = DegradationClassifier((4, 8))
    made = made or network()
    return FaceEnhancement(made, classifier, references, terms, pretrained, batches, 1e-3)


def silent(made: FaceEnhancement) -> FaceEnhancement:
    made.log_terms = lambda *_, **__: None  # type: ignore[method-assign]
    return made


class Companions(Dataset):
    """The faces of `tiny` with labels, and two other photographs of each person."""

    def __init__(self) -> None:
        self.faces = Faces(10)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, key: tuple[int, int] | int) -> dict[str, Any]:
        epoch, index = key if isinstance(key, tuple) else (0, key)
        others = [self.faces[epoch, (index + i) % 10]["target"] for i in (1, 2)]
        label = torch.tensor([1.0, 0.0, 1.0 * (index % 2)])
        return self.faces[epoch, index] | {"references": torch.stack(others), "label": label}


class CompanionData(pl.LightningDataModule):
    def __init__(self) -> None:
        super().__init__()
        self.first_batch = 0

    def train_dataloader(self) -> DataLoader:
        order = StepSampler(10, 4, seed=3, rank=0, world=1, first_batch=self.first_batch)
        return DataLoader(Companions(), batch_sampler=order)

    def val_dataloader(self) -> DataLoader:
        return DataLoader(Companions(), batch_size=2)


def batch(count: int = 2) -> dict[str, Any]:
    image, target = torch.rand(2, count, 3, 16, 16)
    references = torch.rand(count, 3, 3, 16, 16)
    label = torch.tensor([[1.0, 0.0, 1.0]] * count)
    return {"image": image, "target": target, "references": references, "label": label}


def test_the_loss_is_the_sum_of_equation_9() -> None:
    made, given = silent(module(Terms(2.0, 3.0, 5.0), dropout=0.0)), batch()
    maps = made.features(given["references"].flatten(0, 1))[-1].unflatten(0, (2, 3))
    logits = made.classifier(given["image"])
    identity = identity_information(made.features(given["image"])[-1], maps)
    output = made.network(given["image"], logits.sigmoid(), identity)
    seen = made.features(output)[-1]
    expected = F.mse_loss(output, given["target"])
    expected = expected + 2 * perceptual_loss(seen, made.features(given["target"])[-1])
    expected = expected + 3 * identity_loss(seen, maps)
    expected = expected + 5 * classification_loss(logits, given["label"])
    torch.testing.assert_close(made.loss(given), expected)


def test_the_papers_constants_are_the_default() -> None:
    assert Terms(0.04, 0.003, 0.0) == PAPER


def test_the_baseline_is_moved_by_the_squared_error_alone() -> None:
    made = silent(module(MSE, network(labels=False, identity=None)))
    given = {name: value for name, value in batch().items() if name in ("image", "target")}
    expected = F.mse_loss(made.network(given["image"]), given["target"])
    torch.testing.assert_close(made.loss(given), expected)
    assert made.caveat == ""


def test_every_weight_that_is_trained_has_a_gradient_and_no_other() -> None:
    made = silent(module(ALONG))
    made.loss(batch(8)).backward()  # some of their references are dropped
    still = [n for n, p in made.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == [name for name, _ in made.named_parameters() if name.startswith("features.")]


def test_a_classifier_that_was_trained_before_stays_as_it_is() -> None:
    made = silent(module())
    made.loss(batch()).backward()
    assert all(p.grad is None for p in made.classifier.parameters())
    (optimizer,) = made.configure_optimizers()
    moved = sum(p.numel() for group in optimizer.param_groups for p in group["params"])
    assert moved == sum(p.numel() for p in made.network.parameters())


def test_the_restored_face_teaches_the_classifier_nothing() -> None:
    made = silent(module(Terms(classification=1e-12)))
    made.loss(batch()).backward()
    assert max(float(p.grad.abs().max()) for p in made.classifier.parameters()) < 1e-9


def test_references_may_be_missing_at_test_and_may_be_withheld() -> None:
    made, withheld, given = module(), module(at_test=False), batch()
    with_them = made.restore(given).image
    without = {name: value for name, value in given.items() if name != "references"}
    assert not torch.equal(made.restore(without).image, with_them)
    torch.testing.assert_close(withheld.restore(given).image, made.restore(without).image)


def test_the_order_of_the_references_does_not_matter() -> None:
    made, given = module(), batch()
    turned = given | {"references": given["references"].flip(1)}
    torch.testing.assert_close(made.restore(turned).image, made.restore(given).image)


def test_with_a_dropout_of_one_training_sees_what_a_test_without_references_sees() -> None:
    made, given = silent(module(MSE, dropout=1.0)), batch()
    without = {name: value for name, value in given.items() if name != "references"}
    output = made.network(given["image"], made.classifier(given["image"]).sigmoid())
    torch.testing.assert_close(made.loss(given), F.mse_loss(output, given["target"]))
    torch.testing.assert_close(made.restore(without).image, output.clamp(0, 1))


def test_data_without_references_are_refused_in_training() -> None:
    given = {name: value for name, value in batch().items() if name != "references"}
    for made in (module(MSE), module(made=network(identity=None))):
        with pytest.raises(ValueError, match="hold no other photographs of the same person"):
            silent(made).loss(given)


def test_a_killed_run_goes_on_bit_for_bit(tmp_path: Path) -> None:
    def made() -> FaceEnhancement:
        return module(ALONG, batches=3)

    settings = {"val_check_interval": 3}
    trainer(tmp_path / "whole", **settings).fit(made(), CompanionData())
    run = trainer(tmp_path / "killed", callbacks=[StopAfter(2)], **settings)
    with pytest.raises(SystemExit):
        run.fit(made(), CompanionData())
    last = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    trainer(tmp_path / "killed", **settings).fit(made(), CompanionData(), ckpt_path=last)
    whole, killed = everything(tmp_path / "whole"), everything(tmp_path / "killed")
    assert differences(whole, killed) == []
    assert numbers(tmp_path / "whole") == numbers(tmp_path / "killed")
    assert not [name for name in whole["state_dict"] if name.startswith("features.")]
    rates = [float(row["train/learning_rate"]) for row in numbers(tmp_path / "whole")]
    assert rates == pytest.approx([1e-3] * 3)


def test_a_few_steps_lower_the_loss() -> None:
    made, given = silent(module(dropout=0.0)), batch()
    given["references"] = given["references"].mean((3, 4), keepdim=True).expand(-1, -1, -1, 16, 16)
    given["target"] = given["references"][:, 0]
    given["image"] = 0.4 * given["target"]
    (optimizer,) = made.configure_optimizers()
    losses = []
    for _ in range(12):
        optimizer.zero_grad()
        loss = made.loss(given)
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.8 * losses[0], losses


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_two_steps_have_finite_losses(tmp_path: Path, precision: str) -> None:
    run = trainer(tmp_path, precision=precision, limit_val_batches=1)
    run.fit(module(batches=2), CompanionData())
    assert [float(row["train/skipped"]) for row in numbers(tmp_path)] == [0, 0]
    assert all(0 < float(row["train/identity"]) < 1.6 for row in numbers(tmp_path))


def test_a_restored_face_is_in_range_and_single_precision() -> None:
    made = module()
    nn.init.normal_(made.network.decoder.head.weight, std=9.0)
    with torch.autocast("cpu", torch.bfloat16):
        restored = made.restore(batch()).image.detach()
    assert restored.dtype == torch.float32
    assert 0 <= float(restored.amin()) < float(restored.amax()) <= 1


def autoencoder() -> TaskAutoencoder:
    return TaskAutoencoder(TaskEncoder(8, WIDTHS, ENCODER), Decoder(8, WIDTHS[:3], DECODER))


def finished(folder: Path, method: pl.LightningModule) -> Path:
    """The checkpoint of a run of two batches."""
    run = trainer(folder, val_check_interval=1000, limit_val_batches=0)
    run.fit(method, CompanionData())
    return folder / "checkpoints" / "last.ckpt"


def test_parts_start_from_the_runs_that_they_were_trained_in(tmp_path: Path) -> None:
    encoder = Restoration(autoencoder(), max_batches=1)
    classifier = DegradationClassification(DegradationClassifier((4, 8)), 1)
    noise = finished(tmp_path / "encoder", encoder)
    answers = finished(tmp_path / "classifier", classifier)
    made = module(pretrained=Pretrained(noise=noise, classifier=answers))
    before = {name: value.clone() for name, value in made.state_dict().items()}
    made.on_fit_start()
    now = made.state_dict()
    theirs = {f"network.encoders.noise.{k}" for k in encoder.network.encoder.state_dict()}
    theirs |= {f"classifier.{k}" for k in classifier.network.state_dict()}
    moved = {name for name in now if not torch.equal(now[name], before[name])}
    assert moved <= theirs  # biases may be zeros as before
    assert len(moved) > len(theirs) / 2
    ours, trained = made.network.encoders["noise"], encoder.network.encoder
    assert differences(dict(ours.state_dict()), dict(trained.state_dict())) == []
    assert "untrained classifier" not in made.caveat


def test_a_run_that_goes_on_does_not_read_them_again() -> None:
    made = module(pretrained=Pretrained(blur=Path("no.ckpt")))
    made.batches_done = 1
    made.on_fit_start()
    made.batches_done = 0
    with pytest.raises(CheckpointError, match=r"no checkpoint at no\.ckpt: train that run first"):
        made.on_fit_start()


def test_what_is_untrained_is_told_to_the_reader_of_the_table() -> None:
    assert "untrained face network" in module().caveat
    assert "classes: by an untrained classifier" in module(MSE, network(identity=None)).caveat
    assert module(ALONG).caveat.count("untrained") == 1
    assert module(MSE, network(labels=False, identity=None)).caveat == ""


def test_the_fusion_is_of_the_genotype_in_a_file_a_folder_of_a_search_or_a_text(
    tmp_path: Path,
) -> None:
    genotype = Genotype(((Edge(0, "skip"), Edge(1, "fft")), (Edge(2, "res2"), Edge(0, "skip"))))
    path = tmp_path / "genotype.json"
    path.write_text(genotype.to_json())
    for given in (str(path), str(tmp_path), genotype.to_json()):
        found = searched_fusion(given, 8, 2)
        assert found(torch.rand(1, 8, 6, 6)).shape == (1, 8, 6, 6)
        assert [len(cell.edges) for cell in found.cells] == [4, 4]
    with pytest.raises(FileNotFoundError, match=r"no genotype at .*other\.json"):
        searched_fusion(str(tmp_path / "other.json"), 8, 2)
