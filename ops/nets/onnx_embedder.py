"""Face embedders that others trained and published as ONNX files, such as ArcFace."""

from pathlib import Path
from typing import Any, Final, final

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.weights import origin, verify


@final
class OnnxEmbedder(nn.Module):
    """An ONNX network as a judge of identity, run on the CPU; it passes no gradients.

    RGB pixels v of [0, 255] go in as (v - 127.5) / 127.5, in float32, which is what insightface's
    networks take. Those were trained on faces aligned by five landmarks.

    Args:
        path: of the ONNX file; its first input is the image, its first output the embedding.
        sha256: what the file must hash to; see `ops.nets.weights.read_weights`.
        size: side in pixels that every image is brought to.

    Attributes:
        dimensions: of an embedding.
        comparable: that it is trained.
        origin: which file it is.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file has another hash, or is no network that takes images of that size.
        ModuleNotFoundError: if `onnxruntime` is not installed.
    """

    comparable: Final = True

    def __init__(self, path: str, sha256: str | None = None, size: int = 112) -> None:
        super().__init__()
        self.size = size
        self._session = _session(path, sha256)
        taken = self._session.get_inputs()[0]
        sides = [side for side in taken.shape[1:] if isinstance(side, int)]
        if len(taken.shape) != 4 or not set(sides) <= {3, size}:
            raise ValueError(f"{path} takes {taken.shape}, not images of 3 x {size} x {size}")
        self._input, self._one_by_one = taken.name, taken.shape[0] == 1
        self.dimensions = self(torch.zeros(1, 3, size, size)).shape[1]  # files need not say it
        self.origin = origin(path)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding of images in [0, 1], unnormalised, on the images' device."""
        with torch.no_grad():
            if image.shape[-2:] != (self.size, self.size):
                shape = (self.size, self.size)
                image = F.interpolate(image, shape, mode="bilinear", antialias=True)
            seen = (2 * image.float() - 1).cpu()
            parts = seen.split(1) if self._one_by_one else (seen,)
            found = [self._session.run(None, {self._input: part.numpy()})[0] for part in parts]
            return torch.cat([torch.from_numpy(each) for each in found]).to(image.device)

    def normalised(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b d"]:
        """The embedding at length 1; products of two are the cosine similarity."""
        return F.normalize(self(image))


def _session(path: str, sha256: str | None) -> Any:
    if not Path(path).is_file():
        raise FileNotFoundError(f"no ONNX network at {path}: put the file there or give its path")
    verify(Path(path), sha256)
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "an ONNX judge needs the package onnxruntime: pip install -e '.[export]'"
        ) from error
    try:
        return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime raises classes of its own, one for each kind of damage
        raise ValueError(f"{path} is no ONNX network that onnxruntime can run") from error
