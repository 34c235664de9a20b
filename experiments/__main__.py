"""`python -m experiments`: the front of the command line, light until a command needs more."""

import argparse
import importlib
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from experiments.options import COMMANDS, RUNS_AN_EXPERIMENT, Parser
from experiments.settings import Request, SettingsError, describe, names, nearest

HANDED_ON = {  # the module whose `main` takes the command's arguments
    "sweep": "sweep",
    "weights": "weights",
    "claims": "claim_runs",
    "report": "report",
    "transfer": "transfer",
    "export": "export",
    "restore": "restore",
    "demo": "demo",
}
ANY_SETTING = "Any setting is given as --key=value; `show NAME` prints them all."


def truth(word: str) -> bool:
    """What `true` or `false` on the command line means.

    Raises:
        ArgumentTypeError: if it is neither.
    """
    known = {"true": True, "1": True, "false": False, "0": False}
    if word.lower() not in known:
        raise argparse.ArgumentTypeError(f"must be true or false, got '{word}'")
    return known[word.lower()]


def read_request(command: str, arguments: Sequence[str]) -> Request:
    """What the user asked for: the options of the front, and the settings left for the run.

    Raises:
        SettingsError: if no experiment is named or an option has a wrong value.
    """
    parser = Parser(command, f"{COMMANDS[command].capitalize()}. {ANY_SETTING}")
    about = "an experiment of `list`, or a run's config.yaml"
    parser.add_argument("name", nargs="?", help=about)
    parser.add_argument("--experiment", help="the same, for a sweep that varies it")
    parser.add_argument("--scale", help="demo or smoke; the published run without it")
    parser.add_argument("--run", help="another name for the run's folder")
    parser.add_argument("--root", help="where the data lie, if not where the settings say")
    if command == "fit":
        parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
        parser.add_argument("--evaluate", type=truth, default=True, help="test after training")
    if command in ("validate", "test", "predict"):
        parser.add_argument("--ckpt", default="last", help="last, best or a path")
    if command == "test":
        parser.add_argument("--on", help="a file of configs/data: other data than the run's own")
    told, overrides = parser.parse_known_args(arguments)
    if not told.experiment and (not told.name or arguments[0].startswith("-")):
        raise SettingsError(f"name the experiment first: python -m experiments {command} NAME ...")
    if told.experiment and told.name:
        raise SettingsError(f"'{told.name}' and --experiment={told.experiment}: name only one")
    if any(word.partition("=")[0] == "--config" for word in overrides):
        raise SettingsError("no setting 'config'; name the file in place of the experiment")
    return Request(
        command=command,
        name=told.name or told.experiment,
        scale=told.scale or None,
        run=told.run or None,
        resume=getattr(told, "resume", False) or os.environ.get("RESUME") == "1",
        evaluate=getattr(told, "evaluate", True),
        checkpoint=getattr(told, "ckpt", "last"),
        root=told.root or None,
        on=getattr(told, "on", None) or None,
        overrides=tuple(overrides),
    )


def list_experiments() -> int:
    """Prints each experiment's name, what it is, and its paper's numbers."""
    width = max((len(name) for name in names()), default=0)
    for name in names():
        comment, expected = describe(name)
        numbers = ", ".join(f"{key} {value}" for key, value in expected.items())
        sys.stdout.write(f"{name:{width}}  {comment}\n")
        if numbers:
            sys.stdout.write(f"{'':{width}}  expected: {numbers}\n")
    return 0


def draw_data(arguments: Sequence[str]) -> int:
    """Draws a made-up data set.

    Raises:
        SettingsError: if an option is wrong or missing.
    """
    parser = Parser("data", f"{COMMANDS['data'].capitalize()}.")
    from experiments.prepare import SETS

    parser.add_argument("--set", choices=SETS, default="ffhqr", help="whose layout")
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    defaults = {"train": 600, "val": 40, "test": 80, "size": 128, "seed": 0, "photographs": 0}
    for name, default in defaults.items():
        about = {
            "size": "celeba's are always 178 x 218; ",
            "photographs": "of each person, 0 takes 4 in celeba and vggface2 and else 1; ",
        }
        told_of = f"{about.get(name, '')}default {default}"
        parser.add_argument(f"--{name}", type=int, default=default, help=told_of)
    told = parser.parse_args(arguments)
    from datamodules.synthetic import DrawnSet, write_drawn

    try:
        told.photographs = told.photographs or (4 if told.set in ("celeba", "vggface2") else 1)
        faces = DrawnSet(**{name: getattr(told, name) for name in defaults})
        write_drawn(told.to, told.set, faces)
    except ValueError as error:
        raise SettingsError(str(error)) from error
    sys.stdout.write(f"{told.train + told.val + told.test} drawn faces in {told.to}\n")
    return 0


def _help() -> str:
    lines = [f"  {command:9} {about}" for command, about in COMMANDS.items()]
    return (
        "usage: python -m experiments COMMAND [NAME] [--scale=demo|smoke] [--key=value ...]\n\n"
        + "\n".join(lines)
        + "\n\nCOMMAND -h says more. $RUNS is the folder of runs (default runs/).\n"
    )


def _run_experiment(command: str, arguments: Sequence[str]) -> int:
    request = read_request(command, arguments)
    from experiments.settings import find

    find(request.name)  # a misspelled name is told before torch is imported
    from experiments import cli

    return cli.run(request)


def _prepare(arguments: Sequence[str]) -> int:
    from experiments import prepare, testsets

    front = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    front.add_argument("--set", default="")
    try:
        wanted = front.parse_known_args(arguments)[0].set
    except argparse.ArgumentError:  # prepare tells what is wrong
        wanted = ""
    if wanted in testsets.NAMES:
        return testsets.main(arguments)
    return prepare.main(list(arguments))


def _dispatch(command: str, arguments: Sequence[str]) -> int:
    if command not in COMMANDS:
        hint = nearest(command, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise SettingsError(f"no command '{command}'{hint}")
    if command in RUNS_AN_EXPERIMENT:
        return _run_experiment(command, arguments)
    if command == "show-data":
        request = read_request(command, arguments)
        from experiments import show_data

        return show_data.main(request)
    if command == "data":
        return draw_data(arguments)
    if command == "prepare":
        return _prepare(arguments)
    if command in HANDED_ON:
        module = importlib.import_module(f"experiments.{HANDED_ON[command]}")
        return int(module.main(arguments))
    Parser(command, f"{COMMANDS[command].capitalize()}.").parse_args(arguments)
    return list_experiments()


def main(arguments: Sequence[str]) -> int:
    """Runs a command; the exit code. What the user got wrong is told in one line, code 2."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        sys.stdout.write(_help())
        return 0
    command, *rest = arguments
    try:
        code = _dispatch(command, rest)
        sys.stdout.flush()
    except SettingsError as error:
        if all(os.environ.get(rank, "0") == "0" for rank in ("LOCAL_RANK", "SLURM_LOCALID")):
            sys.stderr.write(f"error: {error}\n")  # once a machine, not once a process
        return 2
    except SystemExit as stop:
        # Lightning turns Ctrl-C into code 1; the shell's convention is 128 + the signal.
        if isinstance(stop.__context__, KeyboardInterrupt):
            return 130
        raise
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError as broken:
        if not _nobody_reads():
            raise broken from None  # a pipe of a worker or a logger
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 128 + signal.SIGPIPE
    else:
        return code


def _nobody_reads() -> bool:
    """Whether who read what is printed has enough, as in `list | head`."""
    try:
        sys.stdout.write("\n")
        sys.stdout.flush()
    except BrokenPipeError:
        return True
    return False


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
