"""Parts of a method that were trained in a run of their own."""

from pathlib import Path

from torch import nn

from lightning_modules.checkpoints import CheckpointError, read_checkpoint


def load_part(network: nn.Module, checkpoint: Path, method: str, part: str) -> None:
    """Fills `network` with the part called `part` of a run's checkpoint.

    Args:
        network: to fill.
        checkpoint: of a run of `method`.
        method: the name of the class that trained it.
        part: where the weights lie in that class, such as "network.encoder".

    Raises:
        CheckpointError: if the file is missing, damaged, of another method, or holds another
            network there.
    """
    if not checkpoint.is_file():
        raise CheckpointError(
            f"no checkpoint at {checkpoint}: train that run first, or set this path to null"
        )
    state = read_checkpoint(checkpoint)
    found = state.get("visagist", {}).get("method")
    if found != method:
        raise CheckpointError(f"{checkpoint} is of {found}, not of {method}")
    prefix = f"{part}."
    weights = {
        name.removeprefix(prefix): value
        for name, value in state["state_dict"].items()
        if name.startswith(prefix)
    }
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        line = " ".join(str(error).split())
        raise CheckpointError(f"{checkpoint} holds another {part}: {line[:200]}") from error
