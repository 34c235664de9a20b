import logging
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from lightning_modules.architecture import (
    ArchitectureRecord,
    alphas_figure,
    entropies_of,
    skips_of,
    write_genotype,
)
from ops.nets.darts import SearchNetwork, edges_of
from ops.nets.genotype import Edge, Genotype
from ops.nets.operators import NAMES

SKIP = NAMES.index("skip")


def fusion(blocks: int = 3) -> SearchNetwork:
    torch.manual_seed(0)
    return SearchNetwork(channels=4, cells=1, blocks=blocks)


def all_skips(made: SearchNetwork) -> SearchNetwork:
    with torch.no_grad():
        made.alphas[:, SKIP] = 9.0
    return made


class Training:
    """What the record sees of a training."""

    batches_done = 41

    def __init__(self) -> None:
        self.logged: dict[str, float] = {}

    def log_dict(self, named: dict[str, float], sync_dist: bool) -> None:
        assert sync_dist
        self.logged |= named


def trainer(folder: Path, first: bool = True) -> Any:
    return SimpleNamespace(is_global_zero=first, default_root_dir=str(folder), loggers=[])


def test_entropies_are_means_over_the_edges_of_their_group() -> None:
    made = fusion()
    with torch.no_grad():
        made.alphas.normal_(std=2)
    each = made.entropies().tolist()
    outer = [e for block in range(3) for e in edges_of(block)[:2]]
    inner = [e for e in range(9) if e not in outer]
    found = entropies_of(made)
    assert found["entropy"] == pytest.approx(sum(each) / 9)
    assert found["entropy_cells"] == pytest.approx(sum(each[e] for e in outer) / 6)
    assert found["entropy_blocks"] == pytest.approx(sum(each[e] for e in inner) / 3)


def test_a_fresh_search_is_undecided_and_a_decided_one_is_not() -> None:
    assert entropies_of(fusion())["entropy"] == pytest.approx(math.log(len(NAMES)), abs=1e-4)
    decided = fusion()
    with torch.no_grad():
        decided.alphas[:, 3] = 50.0
    assert entropies_of(decided)["entropy"] < 1e-4


def test_a_cell_of_one_block_has_no_edges_inside() -> None:
    assert set(entropies_of(fusion(1))) == {"entropy", "entropy_cells"}


def test_skip_connections_are_counted_over_both_edges_of_all_blocks() -> None:
    block = (Edge(0, "skip"), Edge(1, "fft"))
    assert skips_of(Genotype((block, (Edge(0, "skip"), Edge(2, "skip"))))) == 3
    assert skips_of(all_skips(fusion()).derive()) == 6


def test_a_genotype_is_written_whole_and_read_back(tmp_path: Path) -> None:
    genotype = fusion().derive()
    write_genotype(genotype, tmp_path / "genotype.json")
    assert Genotype.from_json((tmp_path / "genotype.json").read_text()) == genotype
    assert [path.name for path in tmp_path.iterdir()] == ["genotype.json"]


def test_a_genotype_that_cannot_be_written_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "genotype.json"
    write_genotype(fusion().derive(), path)
    before = path.read_text()

    def full(*_: object, **__: object) -> None:
        raise OSError("no space left on the disk")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(OSError, match="no space"):
        write_genotype(all_skips(fusion()).derive(), path)
    assert path.read_text() == before


def test_the_heat_map_shows_every_proportion_and_frames_what_is_kept() -> None:
    made = fusion()
    weights = made.alphas.detach().softmax(1)
    genotype = made.derive()
    axes, _ = alphas_figure(weights, genotype).axes
    assert torch.equal(torch.from_numpy(axes.images[0].get_array().data), weights)
    assert [label.get_text() for label in axes.get_xticklabels()] == list(NAMES)
    rows = [label.get_text() for label in axes.get_yticklabels()]
    assert rows[-4:] == ["cell - 1 > 3", "cell - 2 > 3", "block 1 > 3", "block 2 > 3"]
    framed = {(int(p.get_x() + 0.5), int(p.get_y() + 0.5)) for p in axes.patches}
    kept = {
        (NAMES.index(edge.operator), edges_of(block)[edge.source])
        for block, pair in enumerate(genotype.blocks)
        for edge in pair
    }
    assert framed == kept


def test_a_validation_logs_numbers_and_draws_once(tmp_path: Path) -> None:
    training = Training()
    record = ArchitectureRecord(fusion(), 0.5)
    for first in (True, False):
        run = trainer(tmp_path / str(first), first)
        record.on_validation_epoch_end(run, training)  # type: ignore[arg-type]
        record.on_validation_end(run, training)  # type: ignore[arg-type]
    wanted = {"entropy", "entropy_cells", "entropy_blocks", "skips"}
    assert set(training.logged) == {f"val/{name}" for name in wanted}
    drawn = [path.relative_to(tmp_path) for path in tmp_path.rglob("*.png")]
    assert drawn == [Path("True/pictures/alphas_0000041.png")]


def test_a_test_draws_too(tmp_path: Path) -> None:
    ArchitectureRecord(fusion(), 0.5).on_test_end(trainer(tmp_path), Training())  # type: ignore[arg-type]
    assert (tmp_path / "pictures" / "alphas_0000041.png").stat().st_size > 1000


def test_a_checkpoint_brings_the_genotype_of_its_moment(tmp_path: Path) -> None:
    made = fusion()
    record = ArchitectureRecord(made, 0.5)
    record.on_save_checkpoint(trainer(tmp_path, first=False), Training(), {})  # type: ignore[arg-type]
    assert not [*tmp_path.iterdir()]
    for change in (lambda fusion: fusion, all_skips):
        expected = change(made).derive()
        record.on_save_checkpoint(trainer(tmp_path), Training(), {})  # type: ignore[arg-type]
        assert Genotype.from_json((tmp_path / "genotype.json").read_text()) == expected
    assert skips_of(expected) == 6


@pytest.mark.parametrize(("most", "told"), [(0.9, 1), (1.0, 0)])
def test_too_many_skip_connections_are_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, most: float, told: int
) -> None:
    record = ArchitectureRecord(all_skips(fusion()), most)
    with caplog.at_level(logging.WARNING):
        record.on_validation_epoch_end(trainer(tmp_path), Training())  # type: ignore[arg-type]
    assert sum("6 of the cell's 6 edges are skip" in line for line in caplog.messages) == told
