"""Which degradations a face shows (the classification network CN of NASFE)."""

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import Encoder, centred, pad_to_multiple


class DegradationClassifier(nn.Module):
    """Logits of three answers: whether there is blur, noise, low light; any of them, or none.

    The paper's supplement, which would describe CN, was not to be had: this is a pyramid of
    residual blocks whose coarsest maps are averaged over the pixels.

    Args:
        widths: channels of the levels, finest first; each halves the size of the one before.

    Raises:
        ValueError: if there are no widths.
    """

    def __init__(self, widths: tuple[int, ...] = (32, 64, 128, 256)) -> None:
        super().__init__()
        if not widths:
            raise ValueError("a classifier needs at least one level, got no widths")
        self.encoder = Encoder(tuple(widths), len(widths) - 1)
        self.head = nn.Linear(widths[-1], 3)

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> Float[Tensor, "b 3"]:
        """The logits of (blur, noise, low light) for an image in [0, 1] of any size.

        Raises:
            ValueError: if a side is too short to be reflected to a multiple of the coarsest level.
        """
        padded = pad_to_multiple(image, self.encoder.stride)
        return self.head(self.encoder(centred(padded))[-1].mean((2, 3)))
