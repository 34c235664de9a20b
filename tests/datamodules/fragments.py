"""What the settings in configs/data build, by the chain and the parser of a run."""

import pytorch_lightning as pl
import torch

from experiments.cli import SettingsParser, link_seed
from experiments.settings import CONFIGS, load_chain


def built(folder, name, scale=None, seed=0):
    """The DataModule of configs/data/`name`.yaml; `folder` takes an experiment that names it."""
    experiment = folder / f"{name}.yaml"
    experiment.write_text(f"bases: [{CONFIGS / 'data' / name}.yaml]\n")
    return parsed(load_chain(str(experiment), scale).settings["data"], seed)


def parsed(data, seed=0):
    """The DataModule that the settings `data` tell of."""
    parser = SettingsParser(exit_on_error=False)
    parser.add_argument("--seed_everything", type=int, default=0)
    parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)
    link_seed(parser)
    told = parser.parse_object({"seed_everything": seed, "data": data})
    return parser.instantiate(told).data


def assert_same(batches, others):
    """Nothing, if both hold the same bit by bit."""
    assert len(batches) == len(others) > 0
    for batch, other in zip(batches, others, strict=True):
        assert batch.keys() == other.keys()
        for key, value in batch.items():
            same = torch.equal if isinstance(value, torch.Tensor) else list.__eq__
            assert same(value, other[key]), key
