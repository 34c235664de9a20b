"""The embedder of a finished run, as settings name it."""

from pathlib import Path

from torch import Tensor, nn

from lightning_modules.embedder import trained_embedder
from ops.nets.embedder import Embedder


class TrainedEmbedder(nn.Module):
    """A face embedder with the weights of a run's checkpoint; nothing of it changes.

    What `lightning_modules.embedder.trained_embedder` gives, as a class: settings inside a function
    cannot be overridden on the command line.

    Args:
        network: of the run.
        checkpoint: of the run.

    Raises:
        CheckpointError: if the file is missing, damaged, of another method or another network.
    """

    def __init__(self, network: Embedder, checkpoint: Path) -> None:
        super().__init__()
        self.embedder = trained_embedder(network, checkpoint)
        self.comparable, self.dimensions = True, self.embedder.dimensions
        self.origin, self.names = self.embedder.origin, network.names

    def forward(self, image: Tensor) -> Tensor:
        """The embedding of images in [0, 1], unnormalised."""
        return self.embedder(image)

    def normalised(self, image: Tensor) -> Tensor:
        """The embedding at length 1, in float32."""
        return self.embedder.normalised(image)
