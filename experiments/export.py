"""`export`: a trained network as a file for other programmes, checked against the network."""

import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import torch
import yaml
from torch import Tensor

import lightning_modules  # noqa: F401 - repairs torchvision before Lightning imports it
from experiments.cli import silence
from experiments.exportable import Exportable, Tensors, exportable, idle_parts
from experiments.model_card import Check, card
from experiments.networks import built, untrained, with_weights
from experiments.options import COMMANDS, Parser
from experiments.settings import SettingsError, nearest
from lightning_modules.run import Run

LARGEST: Final = 1e-4  # difference from the network itself
OPSET: Final = 18  # of ONNX: what torch's exporter writes without a conversion
Answering = Callable[[Tensors], Sequence[Tensor]]


@dataclass(frozen=True)
class Format:
    """A kind of file.

    Attributes:
        suffix: of its files.
        write: writes one.
        read: gives what answers as the file at a path says; it has the network at hand.
        free: whether a file may be for any height and width.
    """

    suffix: str
    write: Callable[[Exportable, Path], None]
    read: Callable[[Path], Answering]
    free: bool = True


def main(arguments: Sequence[str]) -> int:
    """Exports the network of a checkpoint, with a model card; the exit code.

    Raises:
        SettingsError: if an option is wrong, a package is missing, the checkpoint has no network
            that could be exported, or the file answers otherwise than the network.
    """
    parser = Parser("export", f"{COMMANDS['export'].capitalize()}.")
    parser.add_argument("--ckpt", type=Path, required=True, help="a checkpoint or a run's folder")
    parser.add_argument("--format", default="onnx", help=", ".join(FORMATS))
    parser.add_argument("--to", type=Path, required=True, help="the folder to write")
    told = parser.parse_args(arguments)
    if told.format not in FORMATS:
        hint = nearest(told.format, FORMATS) or f"; there are {', '.join(FORMATS)}"
        raise SettingsError(f"no format '{told.format}'{hint}")
    silence()
    method = with_weights(*untrained(told.ckpt))
    path, checks = export(method, told.format, told.to, told.ckpt)
    for check in checks:
        sys.stdout.write(f"{check}\n")
    sys.stdout.write(f"{path} ({path.stat().st_size / 1e6:.2f} MB), {path.name}.md\n")
    return 0


def export(method: Run, name: str, folder: Path, checkpoint: Path) -> tuple[Path, list[Check]]:
    """The file of a format and how far its answers are from the network's; a card lies beside it.

    Args:
        method: trained, in evaluation mode; it loses the parts that take no part in its answers.
        name: of the format.
        folder: to write to.
        checkpoint: of which the card tells.

    Raises:
        SettingsError: if a package is missing, the method has no network to export, or the file
            answers otherwise than the network; then nothing is left of it.
    """
    kind, settings = FORMATS[name], yaml.safe_load(method.settings)
    network = exportable(method)
    path = folder / f"{_name_of(settings)}{kind.suffix}"
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f".part_{path.name}"  # some writers look at the suffix
    try:
        with _packages(), torch.no_grad():
            kind.write(network, part)
            checks = check(network, kind, part)
        text = card(network, settings, checkpoint, name, checks)
        part.chmod(0o644)  # safetensors keeps its files to their owner
        part.replace(path)
        (folder / f"{path.name}.md").write_text(text, encoding="utf-8")
    finally:
        part.unlink(missing_ok=True)
    return path, checks


def check(network: Exportable, kind: Format, path: Path) -> list[Check]:
    """The largest difference of a file's answers from the network's, at each size.

    Raises:
        SettingsError: if one is larger than 1e-4, or not a number.
    """
    answering, checks = kind.read(path), []
    sizes = network.sizes if kind.free else network.sizes[:1]
    for seed, (batch, height, width) in enumerate(sizes):
        given = network.example(batch, height, width, seed)
        wanted, found = network.answer(given), answering(given)
        pairs = zip(found, wanted, strict=True)
        difference = max(float((one - other).abs().max()) for one, other in pairs)
        checks.append(Check(tuple(tuple(x.shape) for x in given), difference))
        if not difference <= LARGEST:
            raise SettingsError(
                f"the exported network differs by {difference:.2g} from the network itself at "
                f"{height} x {width}, more than {LARGEST:g}; no file was kept: try another format"
            )
    return checks


def exported_program(network: Exportable) -> torch.export.ExportedProgram:
    """The network as a program of torch's own operators, for any batch and any size it can take."""
    batch = torch.export.Dim("batch", min=1, max=4096)
    height, width = (
        torch.export.Dim(name, min=network.least, max=network.most) for name in ("height", "width")
    )
    free = {-2: height, -1: width}
    shapes = tuple(
        {0: batch} | {len(one.shape) + 1 + axis: free[axis] for axis in free if None in one.shape}
        for one in network.inputs.values()
    )
    # Sides of no common measure: torch takes coincidences of an example for rules.
    example = network.example(2, network.least + 13, network.least + 30)
    return torch.export.export(
        network.module,
        example,
        dynamic_shapes=shapes,
        prefer_deferred_runtime_asserts_over_guards=True,
    )


def _write_onnx(network: Exportable, path: Path) -> None:
    import onnxscript  # noqa: F401 - torch says it less plainly

    with warnings.catch_warnings():
        # Of torch's own exporter, about its own insides.
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            exported_program(network),
            dynamo=True,
            input_names=list(network.inputs),
            output_names=list(network.outputs),
            opset_version=OPSET,
            verbose=False,
        )
    assert program is not None
    program.save(path)


def _read_onnx(path: Path) -> Answering:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [one.name for one in session.get_inputs()]

    def answer(given: Tensors) -> list[Tensor]:
        fed = dict(zip(names, (tensor.numpy() for tensor in given), strict=True))
        return [torch.from_numpy(array) for array in session.run(None, fed)]

    return answer


def _write_program(network: Exportable, path: Path) -> None:
    torch.export.save(exported_program(network), path)


def _read_program(path: Path) -> Answering:
    return _answering(torch.export.load(path).module())


@contextmanager
def _torchscript() -> Iterator[None]:
    """Hushes that torch wants TorchScript no more."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r".*torch\.jit\.\w+. is (deprecated|not supported)")
        # The program's checks of its one size become constants, as they should.
        warnings.filterwarnings("ignore", "Converting a tensor to a Python ")
        yield


def _write_torchscript(network: Exportable, path: Path) -> None:
    example = network.example(*network.sizes[0])
    # Of the program, in which nothing is left but tensors and the numbers of this one size.
    program = torch.export.export(network.module, example).module(check_guards=False)
    with _torchscript():
        traced = torch.jit.trace(program, example, check_trace=False)
        torch.jit.save(torch.jit.freeze(traced.eval()), path)


def _read_torchscript(path: Path) -> Answering:
    with _torchscript():
        return _answering(torch.jit.load(path))


def _write_weights(network: Exportable, path: Path) -> None:
    from safetensors.torch import save_file

    settings = yaml.safe_dump(public(yaml.safe_load(network.method.settings)))
    told = {"settings": settings, "method": type(network.method).__name__}
    state = {name: value.contiguous() for name, value in network.method.state_dict().items()}
    save_file(state, path, told)


def public(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A run's settings without what is of its machine: where it lies, its data and its judges."""
    told = {key: value for key, value in settings.items() if key not in OF_THE_MACHINE}
    model = dict(told.get("model", {}))
    arguments = {k: v for k, v in model.get("init_args", {}).items() if k != "measures"}
    return told | {"model": model | {"init_args": arguments}, "data": _rootless(told.get("data"))}


def _rootless(data: Any) -> Any:
    if not isinstance(data, Mapping):
        return data
    return {key: _rootless(value) for key, value in data.items() if key != "root"}


def read_weights(path: Path) -> Run:
    """The method of a safetensors file that `export` wrote, in evaluation mode.

    Raises:
        SettingsError: if the file is another's, or does not fit the code at hand.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            told = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise SettingsError(f"{path} cannot be read as safetensors: {error}") from error
    if "settings" not in told:
        raise SettingsError(f"{path} does not tell what it was trained by; take one of `export`")
    method = built(yaml.safe_load(told["settings"]), state)
    idle, wanted = idle_parts(method), set(method.state_dict())
    needed = {name for name in wanted if name.split(".")[0] not in idle}
    if needed != set(state):
        raise SettingsError(f"{path} holds other weights than {told['method']} has here")
    method.load_state_dict(state, strict=False)
    method.settings = told["settings"]
    return method.eval().requires_grad_(False)


def _read_weights(path: Path) -> Answering:
    method = read_weights(path)
    return exportable(method).answer


def _answering(module: Callable[..., Any]) -> Answering:
    def answer(given: Tensors) -> Sequence[Tensor]:
        with torch.no_grad():
            found = module(*given)
        return [found] if isinstance(found, Tensor) else list(found)

    return answer


@contextmanager
def _packages() -> Iterator[None]:
    """Turns a missing package into a sentence."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"{error.name} is not installed: pip install -e '.[export]', or take --format=pt2"
        ) from error


def _name_of(settings: Mapping[str, Any]) -> str:
    """The run's folder's name, which tells seeds apart; of an unnamed run its experiment's."""
    if settings.get("run_dir"):
        return Path(str(settings["run_dir"])).name
    scale = settings.get("scale", "published")
    name = str(settings.get("experiment", "network"))
    return name if scale == "published" else f"{name}_{scale}"


OF_THE_MACHINE: Final = ("run_dir", "trainer", "wandb")

FORMATS: Final = {
    "onnx": Format(".onnx", _write_onnx, _read_onnx),
    "torchscript": Format(".pt", _write_torchscript, _read_torchscript, free=False),
    "pt2": Format(".pt2", _write_program, _read_program),
    "safetensors": Format(".safetensors", _write_weights, _read_weights),
}
