"""One line out of the parser's many: which setting is wrong, what it may be, the nearest name."""

import importlib
import inspect
import re
from collections.abc import Iterable
from typing import Any

from experiments.settings import nearest

_KEY = re.compile(r'Parser key "([^"]+)"')
_UNKNOWN = re.compile(r"Option '([^']+)' is not accepted")
_UNKNOWN_IN_GROUP = re.compile(r"Group '([^']+)' does not accept option '([^']+)'")
_TYPED = re.compile(r"NestedArg\(key='([^']+)'")
_CHOICES = re.compile(r"Expected a typing\.Literal\[(.*?)\]")
_CLASS_PATH = re.compile(r"Problem with given class_path '([^']+)'")
_NOT_A_SUBCLASS = re.compile(r"Import path (?:\S+ )?does not correspond to a subclass of (\w+)")
_ABSTRACT = re.compile(r"but (\S+ )?is abstract")
_WRONG_TYPE = re.compile(r"Not of type (\w+): (.*)")
_EXPECTED = re.compile(r"Expected an? (?:<class '([\w.]+)'>|(\S[^.\n]*))")
_NOISE = re.compile(
    r"Does not validate against|Expected a <class 'NoneType'>|Expected a path but"
    r"|^ type: |^: |^Parser key \S+\s*$"
)

NUMBERS = {
    "PositiveInt": "a whole number above 0",
    "NonNegativeInt": "a whole number, 0 or above",
    "PositiveFloat": "a number above 0",
    "NonNegativeFloat": "a number, 0 or above",
    "ClosedUnitInterval": "a number from 0 to 1",
    "OpenUnitInterval": "a number between 0 and 1",
}


def one_line(message: str, settings: dict[str, Any], known: Iterable[str]) -> str:
    """What is wrong in the settings, from the parser's message.

    Args:
        message: as jsonargparse words it, often over many lines.
        settings: the merged settings that were parsed; they name the classes in use.
        known: every key that the parser has by itself.
    """
    keys = [key for key in (*known, *_class_keys(settings)) if not key.endswith(".help")]
    stray = re.match(r"unrecognized arguments: (\S+)", message)
    if stray:
        return _stray(stray.group(1), keys)
    path = ".init_args.".join(_KEY.findall(message))
    typed = _TYPED.search(message)
    if typed:
        # Deep down the parser names the last word alone; what was typed names the place.
        path = f"{path.split('.')[0]}.{typed.group(1)}".replace("init_args.", "")
        if _UNKNOWN.search(message) or "unrecognized arguments" in message:
            return _no_setting(path, keys)
    return (
        _unknown(message, path, keys)
        or _wrong_class(message, path)
        or _wrong_value(message, path)
        or plain(message)
    )


def _class_keys(settings: dict[str, Any], prefix: str = "") -> list[str]:
    """The full key of every argument of every class that the settings name."""
    keys: list[str] = []
    for key, value in settings.items():
        if isinstance(value, dict):
            keys += _class_keys(value, f"{prefix}{key}.")
    if "class_path" in settings:
        arguments = _arguments(str(settings["class_path"]))
        keys += [f"{prefix}init_args.{argument}" for argument in arguments]
    return keys


def _arguments(class_path: str) -> list[str]:
    """The names of a class's constructor arguments; none where it cannot be imported."""
    module, _, name = class_path.rpartition(".")
    try:
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    except (ImportError, AttributeError, ValueError, TypeError):
        return []  # that the class is missing is told on its own


def _no_setting(key: str, keys: list[str]) -> str:
    """That there is no `key`, and the nearest, written without `init_args`."""
    short = [known.replace(".init_args.", ".") for known in keys]
    return f"no setting '{key}'{_closest(key, short)}"


def _closest(key: str, keys: list[str]) -> str:
    """The hint for a mistyped key: among its neighbours first, then among all."""
    group, _, _ = key.rpartition(".")
    neighbours = [known for known in keys if known.rpartition(".")[0] == group]
    if nearest(key, neighbours):
        return nearest(key, neighbours)
    return nearest(key, [*keys, *(known.replace(".init_args.", ".") for known in keys)])


def _stray(word: str, keys: list[str]) -> str:
    if not word.startswith("-"):
        return f"stray word '{word}'; settings are given as --key=value"
    key = word.lstrip("-").partition("=")[0]
    return f"no setting '{key}'{_closest(key, keys)}"


def _unknown(message: str, path: str, keys: list[str]) -> str:
    in_group = _UNKNOWN_IN_GROUP.search(message)
    if in_group:
        key = ".".join(in_group.groups())
        return f"no setting '{key}'{_closest(key, keys)}"
    found = _UNKNOWN.search(message)
    if not found:
        return ""
    key = found.group(1)
    if not path:
        return f"no setting '{key}'{_closest(key, keys)}"
    # The parser says `init_args.x` or `x` depending on where the key stood.
    full = f"{path}.{key}" if key.startswith("init_arg") else f"{path}.init_args.{key}"
    return f"no setting '{full}'{_closest(full, keys)}"


def _wrong_class(message: str, path: str) -> str:
    other = _NOT_A_SUBCLASS.search(message)
    if other:
        return f"{path}: {_given(message)} is not a {other.group(1)}"
    abstract = _ABSTRACT.search(message)
    if abstract:
        return f"{path}: {_given(message)} is abstract; name a class that stands on it"
    found = _CLASS_PATH.search(message)
    if not found:
        return ""
    class_path = found.group(1)
    module, _, name = class_path.rpartition(".")
    try:
        there = [name for name in vars(importlib.import_module(module)) if name[:1].isupper()]
    except ImportError as error:
        return f"{path}: no class '{class_path}' ({error})"
    return f"{path}: no class '{class_path}'{nearest(name, there)}"


def _wrong_value(message: str, path: str) -> str:
    choices = [word for listed in _CHOICES.findall(message) for word in listed.split(", ")]
    if choices:
        options = list(dict.fromkeys(word.strip("'") for word in choices))
        value = _given(message)
        return f"{path} must be one of {', '.join(options)}; got '{value}'{nearest(value, options)}"
    kinds = [(name or text).strip() for name, text in _EXPECTED.findall(message)]
    wanted = [
        kind for kind in dict.fromkeys(kinds) if kind != "NoneType" and "path but" not in kind
    ]
    typed = _WRONG_TYPE.search(message)
    if typed:
        kind, reason = typed.groups()
        refused = re.search(r"'([^']*)'$|^(\S+) does not", reason.strip())
        value = (refused.group(1) or refused.group(2)) if refused else _given(message)
        return f"{path} must be {' or '.join([*wanted, NUMBERS.get(kind, kind)])}, got '{value}'"
    return f"{path} must be {' or '.join(wanted)}, got '{_given(message)}'" if wanted else ""


def _given(message: str) -> str:
    """The value that was refused, as the parser quotes it."""
    quoted = re.search(r"(?:Got|Given) value: (.*)", message)
    value = quoted.group(1).strip() if quoted else ""
    value = re.sub(r"^NestedArg\(key='.*?', val='?(.*?)'?\)$", r"\1", value)
    return re.sub(r"^\{'class_path': '([^']+)'.*\}$", r"\1", value)


def plain(message: str) -> str:
    """The first reason in a message of many lines, which may list a reason for each type tried."""
    reasons = re.split(r"\n\s*(?:- |Given value)", message)
    own = [reason for reason in reasons if not _NOISE.search(reason)]
    return " ".join((own or reasons)[0].split())
