"""Inception's features, on which FID is defined, by torch-fidelity's network."""

import tempfile
from pathlib import Path
from typing import Final, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.weights import known_hashes, read_weights


@final
class InceptionFeatures(nn.Module):
    """The 2048 pooled features of the Inception network of TensorFlow, 2015-12-05, frozen.

    The network and its resizing to 299 x 299 are torch-fidelity's, so that FID by them is the one
    that papers print. It sees images rounded to 8 bits.

    Args:
        path: of pt_inception-2015-12-05-6726825d.pth, under whatever name.
        sha256: what the file must hash to; without it, what that one does, since FID by any other
            is another measure.

    Attributes:
        dimensions: of the features.
        published: name of the file that FID is defined on.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another hash, or holds no such network.
        ModuleNotFoundError: if `torch-fidelity` is not installed.
    """

    dimensions: Final = 2048
    published: Final = "pt_inception-2015-12-05-6726825d.pth"

    def __init__(self, path: str, sha256: str | None = None) -> None:
        super().__init__()
        try:
            from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "FID needs torch-fidelity: pip install -e '.[fid]'"
            ) from error
        weights = read_weights(path, sha256 or known_hashes()[self.published])
        with tempfile.TemporaryDirectory() as folder:
            # torch-fidelity unpickles what it is given, so it gets what was read as tensors alone.
            checked = Path(folder) / "weights.pth"
            torch.save(weights, checked)
            try:
                self.network = FeatureExtractorInceptionV3("inception", ["2048"], str(checked))
            except RuntimeError as error:
                raise ValueError(f"{path} does not hold Inception's weights: {error}") from error
        self.eval()

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 2048"]:
        """The features of images in [0, 1] of any size."""
        levels = image.float().clamp(0, 1).mul(255).round().to(torch.uint8)
        features: Tensor = self.network(levels)[0]
        return features
