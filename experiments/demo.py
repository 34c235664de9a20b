"""A page in the browser to try a trained network on photographs (`make demo`)."""

import argparse
import ipaddress
import math
import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from experiments.options import Parser
from experiments.settings import SettingsError

if TYPE_CHECKING:  # its packages take seconds to load, which --help need not
    from experiments.studio import Studio

PORT = 7860
MEGAPIXELS = 24.0
MEGABYTES = 30.0


def main(arguments: Sequence[str]) -> int:
    """Serves the page until it is stopped; Ctrl-C is left to the caller.

    Args:
        arguments: the words after `demo`.

    Raises:
        SettingsError: if a setting is wrong, a file that it names is missing, gradio is not
            installed, or the port is taken.
        SystemExit: after printing the help that `--help` asks for, or when told to terminate.
    """
    options = _parser().parse_args(arguments)
    _check(options)
    port = _free_port(options.host, options.port)
    with _own_folder():
        try:
            import gradio  # noqa: F401 - missing it is told before the network is built
        except ImportError as error:
            raise SettingsError(
                f"the page needs gradio ({error}); run pip install -e '.[demo]'"
            ) from error
        _serve(_studio(options), options, port)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = Parser("demo", "A page in the browser to try a trained network on photographs.")
    add = parser.add_argument
    add("--ckpt", type=Path, required=True, help="a checkpoint, or the folder of a run")
    detector = "YuNet as ONNX; default: environment variable VISAGIST_YUNET, else as --aligned"
    add("--detector", type=Path, help=detector)
    add("--aligned", action="store_true", help="the pictures are crops: look for no faces")
    size = "height of the crops that the network sees; default: what it was trained at"
    add("--size", type=int, help=size)
    add("--host", default="127.0.0.1", help="address to serve at; default: this computer alone")
    add("--port", type=int, default=PORT, help=f"0 for any free one; default: {PORT}")
    for name, default in (("megapixels", MEGAPIXELS), ("megabytes", MEGABYTES)):
        about = f"most of a photograph; default: {default:g}"
        add(f"--max-{name}", type=float, default=default, help=about)
    return parser


def _check(options: argparse.Namespace) -> None:
    for right, message in (
        (options.size is None or options.size >= 16, f"--size must be 16 up, got {options.size}"),
        (0 <= options.port < 65536, f"--port must be 0 to 65535, got {options.port}"),
        (
            0 < options.max_megapixels < math.inf,
            f"--max-megapixels must be above 0, got {options.max_megapixels:g}",
        ),
        (
            0 < options.max_megabytes < math.inf,
            f"--max-megabytes must be above 0, got {options.max_megabytes:g}",
        ),
        (
            not (options.aligned and options.detector),
            "--aligned looks for no faces; leave --detector out",
        ),
    ):
        if not right:
            raise SettingsError(message)


def _free_port(host: str, port: int) -> int:
    """`port` if nobody listens there, or any free one for 0.

    Raises:
        SettingsError: if it is taken or `host` is no address of this computer.
    """
    try:
        family, kind, number, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, number) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind(address)
            return int(trial.getsockname()[1])
    except OSError as error:
        raise SettingsError(
            f"cannot serve at {host}, port {port} ({error.strerror or error}); give another "
            "--port, or 0 for any free one"
        ) from error


@contextmanager
def _own_folder() -> Iterator[None]:
    """Everything that visitors upload lies in a folder of this process's, which goes with it.

    What else gradio reads from the environment, and only there, is set as well.
    """
    with tempfile.TemporaryDirectory(prefix="visagist_", ignore_cleanup_errors=True) as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
        for name in ("GRADIO_ALLOWED_PATHS", "GRADIO_DEBUG"):
            os.environ.pop(name, None)
        yield


def _studio(options: argparse.Namespace) -> "Studio":
    from datamodules.detection import FaceDetector
    from datamodules.inbox import Crops
    from experiments.cli import silence, told_as_settings
    from experiments.networks import trained_network, view_of
    from experiments.restorer import refuse_unsuited
    from experiments.studio import Studio

    silence()
    file = _detector_file(options)
    method = trained_network(options.ckpt)
    refuse_unsuited(method, references=False, tile=0)
    with told_as_settings():
        detect = FaceDetector(file) if file else None
    crops = Crops(view_of(method, options.size), detect)
    return Studio(method, crops, round(options.max_megapixels * 1e6))


def _detector_file(options: argparse.Namespace) -> Path | None:
    """YuNet's file; None where pictures are to be crops."""
    from datamodules.detection import VARIABLE, find_detector

    if options.aligned:
        return None
    if not options.detector and not os.environ.get(VARIABLE):
        sys.stderr.write(
            f"neither --detector nor {VARIABLE} is set: pictures must be crops of one face\n"
        )
        return None
    try:
        return find_detector(options.detector)
    except (OSError, ValueError) as error:
        raise SettingsError(f"{error}; or say --aligned if the pictures are crops") from error


def _serve(studio: "Studio", options: argparse.Namespace, port: int) -> None:
    from experiments.demo_page import page

    blocks = page(studio, options.max_megabytes)
    try:
        signal.signal(signal.SIGTERM, _leave)
        _launch(blocks, options, port)
        sys.stderr.write(f"the page is at {blocks.local_url}; Ctrl-C ends it\n")
        if not _is_this_computer(options.host):
            sys.stderr.write("everybody who reaches this computer can use it\n")
        threading.Event().wait()
    finally:
        blocks.close(verbose=False)


def _launch(blocks: Any, options: argparse.Namespace, port: int) -> None:
    import gradio as gr

    from experiments.demo_page import STYLE

    fonts = ["system-ui", "sans-serif"]  # gradio's own would be fetched from elsewhere
    _reach_directly(options.host)
    try:
        blocks.launch(
            server_name=options.host,
            server_port=port,
            share=False,
            inline=False,
            quiet=True,
            prevent_thread_lock=True,
            ssr_mode=False,
            pwa=False,
            mcp_server=False,
            enable_monitoring=False,
            run_history=False,
            num_workers=0,
            footer_links=[],
            allowed_paths=[],
            max_file_size=round(options.max_megabytes * 1e6),
            state_session_capacity=16,
            theme=gr.themes.Default(font=fonts, font_mono=["monospace"]),
            css=STYLE,
        )
    except OSError as error:  # taken since it was tried
        raise SettingsError(f"cannot serve at port {port} ({error}); give another") from error


def _reach_directly(host: str) -> None:
    """Has gradio's look at its own page go through no proxy."""
    for name in ("NO_PROXY", "no_proxy"):
        known = os.environ.get(name, "")
        os.environ[name] = ",".join(filter(None, [known, host, "localhost"]))


def _is_this_computer(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _leave(number: int, _: Any) -> None:
    """Ends the process as a signal asks, but not before its files are deleted."""
    raise SystemExit(128 + number)
