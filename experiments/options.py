"""What every command of the front is: its name, what it does, and a parser of its options."""

import argparse
from typing import NoReturn

from experiments.settings import SettingsError

RUNS_AN_EXPERIMENT = {
    "fit": "train an experiment, then evaluate its final weights",
    "validate": "score a trained experiment on the validation split",
    "test": "score a trained experiment on the test split and write its table",
    "predict": "write a trained experiment's answers as pictures",
    "show": "print an experiment's merged settings, all defaults included",
}
OTHERS = {
    "show-data": "draw what an experiment's network sees, or the data of configs/data/NAME.yaml",
    "list": "name every experiment, and the numbers that its paper printed",
    "prepare": "make a data set from a folder of photographs",
    "data": "draw a made-up data set in the folder layout of a real one",
    "weights": "list the weights that others trained, or download those that are named",
    "restore": "restore photographs, folders and clips by a trained network",
    "transfer": "put the face of a photograph's embedding on each frame of a clip",
    "export": "write a trained network as a file for other programmes, with a model card",
    "demo": "a page in the browser to try a trained network on photographs",
    "report": "gather the results of all runs beside the papers' numbers",
    "claims": "make the runs that a paper's claims are judged by, then the report",
    "sweep": "run a W&B sweep file; --local needs no server",
}
COMMANDS = RUNS_AN_EXPERIMENT | OTHERS


class Parser(argparse.ArgumentParser):
    """An argparse parser without abbreviations, whose errors are one line."""

    def __init__(self, command: str, about: str) -> None:
        super().__init__(prog=f"python -m experiments {command}", description=about)
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        """Raises SettingsError instead of printing the usage."""
        raise SettingsError(f"{message}; --help lists the options")
