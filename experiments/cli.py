"""Runs one experiment: checks all its settings, builds it, trains and evaluates it."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NoReturn

import yaml

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it

import pytorch_lightning as pl  # isort: skip
from jsonargparse import ActionConfigFile  # type: ignore[attr-defined]
from jsonargparse.typing import NonNegativeInt, PositiveInt
from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

from experiments import tables
from experiments.messages import one_line, plain
from experiments.other_data import at_root, scored_on
from experiments.parts import (
    Record,
    add_trainer,
    check_precision,
    instead,
    run_callbacks,
    run_loggers,
    run_strategy,
)
from experiments.settings import (
    Request,
    SettingsError,
    load_chain,
    run_folder,
    runs_folder,
    start_from,
    trained,
)
from lightning_modules.checkpoints import AtomicCheckpointIO, CheckpointError
from lightning_modules.guard import StoppedByLosses
from lightning_modules.run import Run

NOT_WRITTEN = "could not write"  # how a checkpoint that found no room on the disk begins

# Whenever they come up, it is the user's settings or files that are at fault.
WRONG_SETTINGS = (
    FileNotFoundError,
    NotADirectoryError,
    CheckpointError,
    MisconfigurationException,
)


class SettingsParser(LightningArgumentParser):
    """Lightning's parser, whose errors are an exception instead of a hundred lines of usage."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises SettingsError with the parser's whole message."""
        raise SettingsError(message) from ex


def link_seed(parser: LightningArgumentParser) -> None:
    """Gives the data the run's seed, and the set to train on where two are joined."""
    for seeded in ("data", "data.init_args.train"):
        parser.link_arguments("seed_everything", f"{seeded}.init_args.seed", compute_fn=int)


class SuiteCLI(LightningCLI):
    """LightningCLI for one command on one experiment, whose settings were merged before.

    Args:
        request: what the user asked for.
        settings: the merged settings, on which the request's overrides are laid.
    """

    def __init__(self, request: Request, settings: dict[str, Any]) -> None:
        self.request = request
        self.given = settings
        self.checkpoint: str | None = None
        self.record = Record()
        super().__init__(
            Run,
            pl.LightningDataModule,
            save_config_callback=None,
            seed_everything_default=0,
            parser_class=SettingsParser,
            subclass_mode_model=True,
            subclass_mode_data=True,
            args=[f"--config={yaml.safe_dump(settings)}", *request.overrides],
            run=False,
            auto_configure_optimizers=False,
        )

    def init_parser(self, **kwargs: Any) -> LightningArgumentParser:
        """A parser that takes no abbreviated key: `max_step` is not `max_steps`."""
        parser = self.parser_class(allow_abbrev=False, **kwargs)
        parser.add_argument("--config", action=ActionConfigFile)
        return parser

    def add_default_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seed: a number, since a run that drew its own could not be run again."""
        parser.add_argument("--seed_everything", type=NonNegativeInt, default=0)

    def add_core_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The Trainer's arguments but those decided here, the method and its data."""
        add_trainer(parser)
        parser.add_lightning_class_args(Run, "model", subclass_mode=True)
        parser.add_lightning_class_args(pl.LightningDataModule, "data", subclass_mode=True)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The settings of a run that belong to no single class."""
        parser.add_argument("--experiment", type=str, default="unnamed")
        parser.add_argument("--scale", type=str, default="published")
        parser.add_argument("--run_dir", type=str, default="runs/unnamed")
        parser.add_argument("--max_batches", type=PositiveInt, default=300_000)
        parser.add_argument("--checkpoint_every", type=PositiveInt, default=500)
        parser.add_argument("--monitor", type=str, default="val/psnr")
        parser.add_argument("--wandb", type=Literal["off", "online", "offline"], default="off")
        parser.link_arguments("max_batches", "model.init_args.max_batches")
        link_seed(parser)

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Parses and checks every setting; nothing has been built yet.

        Raises:
            SettingsError: with the one line that says what is wrong.
        """
        try:
            self.config = parser.parse_args(args)
        except SettingsError as error:
            known = [action.dest for action in parser._actions]
            line = one_line(str(error), self.given, known)
            raise SettingsError(instead(line, known)) from None
        check_precision(self.config.trainer.precision)
        self.text = parser.dump(self.config, skip_unset=False)

    def _parse_ckpt_path(self) -> None:
        """Nothing: else hyperparameters in a checkpoint would beat the command line."""

    def before_instantiate_classes(self) -> None:
        """Ends `show` here, and looks for the run's folder and checkpoint before building."""
        if self.request.command == "show":
            sys.stdout.write(self.text)
            raise SystemExit(0)
        if self.request.command == "fit":
            self.checkpoint = start_from(Path(self.config.run_dir), self.request.resume)
        else:
            self.checkpoint = trained(self._trained_in, self.request.checkpoint)

    @property
    def _trained_in(self) -> Path:
        """The folder of the run itself; tests on other data have one inside it."""
        folder = Path(self.config.run_dir)
        return folder.parent if self.request.on else folder

    def instantiate_classes(self) -> None:
        """Builds the data, the method and the Trainer.

        Raises:
            SettingsError: if one of them refuses its arguments.
        """
        with told_as_settings():
            super().instantiate_classes()
        self.model.settings = self.text

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """A Trainer that writes into the run's folder only."""
        folder = Path(self.config.run_dir)
        fits = self.request.command == "fit"
        self.trainer_defaults["callbacks"] = [*run_callbacks(folder, self.config), self.record]
        return super().instantiate_trainer(
            default_root_dir=str(folder),
            logger=run_loggers(folder, self.config, self.checkpoint) if fits else False,
            max_epochs=1,  # the endless stream, which the training ends at max_batches
            enable_checkpointing=False,
            enable_progress_bar=False,
            plugins=[AtomicCheckpointIO()],
            strategy=run_strategy(self.config_init.trainer),
            **kwargs,
        )

    def execute(self) -> None:
        """Runs the command, then says on the first process what came out and where it lies."""
        data = {"datamodule": self.datamodule}
        cluster = getattr(self.trainer.strategy, "cluster_environment", None)
        if cluster is not None and not cluster.creates_processes_externally:
            self.datamodule.prepare_data()  # while there is no peer to lose
        if self.request.command == "fit":
            self.trainer.fit(self.model, **data, ckpt_path=self.checkpoint)
            if self.request.evaluate:
                self.trainer.test(self.model, **data, verbose=False)
        else:
            command = getattr(self.trainer, self.request.command)
            quiet = {} if self.request.command == "predict" else {"verbose": False}
            command(self.model, **data, ckpt_path=self.checkpoint, **quiet)
        if self.trainer.is_global_zero:
            self._tell()

    def _tell(self) -> None:
        folder = Path(self.config.run_dir)
        if self.request.command == "validate":
            metrics = self.trainer.callback_metrics
            tables.show_metrics({name: float(value) for name, value in metrics.items()})
        elif self.model.results:
            caveat = f"{self.model.caveat} {self.model.scores.caveat}".strip()
            tag = tables.Tag(self.config.experiment, self.config.scale, caveat)
            notes = f"{self.model.scores.definitions} {caveat}".strip()
            tables.write_table(tables.rows_of(self.model.results, tag), folder, notes)
            scored = yaml.safe_dump({"checkpoint": self._scored()})
            (folder / "results.yaml").write_text(scored + self.text, encoding="utf-8")
        tables.show_places(folder, self.checkpoint)

    def _scored(self) -> str:
        """The file whose weights a test scored: its name in the run's folder, or its path."""
        if self.request.command == "fit" or self.checkpoint is None:
            return "last.ckpt"
        path, own = Path(self.checkpoint), self._trained_in / "checkpoints"
        return path.name if path.parent.resolve() == own.resolve() else str(path)


@contextmanager
def told_as_settings() -> Iterator[None]:
    """Turns what constructors raise about their arguments into SettingsError."""
    try:
        yield
    except (ValueError, TypeError, OSError, ImportError, MisconfigurationException) as error:
        raise SettingsError(plain(str(error))) from error


def silence() -> None:
    """Keeps Lightning's advertisements and the warnings that do not concern this suite away."""
    os.environ["JSONARGPARSE_DEPRECATION_WARNINGS"] = "off"  # of calls that Lightning makes
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.pytorch"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in (
        ".*does not have many workers.*",
        ".*dataloader is not resumable.*",
        ".*LeafSpec.*",
        ".*using a custom batch sampler.*",  # ours drops nothing either
        ".*in eval mode at the start of training.*",  # the mask's teacher, frozen features
        ".*no logger configured.*",
    ):
        warnings.filterwarnings("ignore", message=message)


def _merged(request: Request) -> dict[str, Any]:
    """The settings of a request, and which run they are of."""
    merged = load_chain(request.name, request.scale)
    folder = run_folder(merged.name, request.scale)
    identity = {"experiment": merged.name, "scale": request.scale or "published"}
    own = {} if merged.saved else {**identity, "run_dir": str(folder)}
    renamed = {"run_dir": str(runs_folder() / request.run)} if request.run else {}
    settings = merged.settings | own | renamed
    kept = Path(settings["run_dir"]) / "config.yaml" if "run_dir" in settings else Path()
    if request.command in ("validate", "test", "predict") and kept.is_file():
        settings = load_chain(str(kept)).settings | renamed  # a run is scored on its own data
    if request.on:
        settings = scored_on(settings, request.on)
    return at_root(settings, request.root) if request.root else settings


def run(request: Request) -> int:
    """Runs a command; the exit code.

    Raises:
        SettingsError: if a setting is wrong or a file is missing.
    """
    silence()
    arguments, sys.argv[1:] = sys.argv[1:], []  # LightningCLI warns of arguments given twice
    cli = SuiteCLI(request, _merged(request))
    sys.argv[1:] = arguments  # the further processes of DDP are started with them
    try:
        cli.execute()
    except StoppedByLosses as error:
        sys.stderr.write(f"stopped: {error}\n")
        return 3
    except WRONG_SETTINGS as error:
        raise SettingsError(plain(str(error))) from error
    except OSError as error:
        if not str(error).startswith(NOT_WRITTEN):
            raise
        sys.stderr.write(f"stopped: {error}\n")
        return 1
    except ValueError as error:
        if cli.record.data_ready:
            raise  # a fault of the programme: the whole traceback is wanted
        raise SettingsError(plain(str(error))) from error
    return 0
