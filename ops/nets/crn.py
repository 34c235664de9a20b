"""The Component Regression Network of Makeup-Go (Chen, Shen and Jia, ICCV 2017).

There is no code of the authors. Of the two public attempts one keeps its sub-networks in a plain
list, where no optimiser finds them, and starts its trunk at zero
(`test_every_layer_of_every_branch_is_moved_by_an_optimizer_of_the_networks_parameters`,
`test_every_parameter_gets_a_gradient_from_the_first_step_on`).
"""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from ops.nets.blocks import centred
from ops.nets.fsrcnn import image_convolution, narrow_mapping, rectified


class CRN(nn.Module):
    """Regresses the components of a discrepancy map, each in a branch of its own (Section 4.2).

    Three 3x3 convolutions find features that all branches share. A branch maps them in few
    channels, widens the result and ends in a 3x3 convolution to the channels of its head. What
    the heads stand for, and how an image comes of them, is not known here: see
    ops/kernels/whitening.py.

    Deviation: the paper leaves these open. "1 convolution kernel" for shrinking and expanding is
    read as 1x1, which FSRCNN has there; the features have 56 channels but are expanded "back to
    64", which is taken literally; the convolution from these 64 to the output, which the text
    omits, is 3x3; every convolution but that one has a PReLU with a slope for each channel and
    FSRCNN's initialisation (`test_the_parameters_are_those_of_the_papers_layers`). The range of
    the image is not given either; the trunk sees it in [-1, 1], where in a first trial the
    paper's SGD brought the first component to the same loss in about two thirds of the steps that
    it took in [0, 1] (`test_the_trunk_sees_the_image_around_zero`).

    Attributes:
        heads: channels of each head's output.

    Args:
        heads: channels of each head's output.
        width: channels of the shared features.
        shrink: channels in which a branch maps them.
        expand: channels that a branch's output comes from.
        mapping: number of mapping layers of a branch.
        trunk: number of shared layers.

    Raises:
        ValueError: if there is no head, or a number is below 1.
    """

    def __init__(
        self,
        heads: Sequence[int],
        width: int = 56,
        shrink: int = 12,
        expand: int = 64,
        mapping: int = 3,
        trunk: int = 3,
    ) -> None:
        super().__init__()
        if not heads or trunk < 1:
            raise ValueError(
                f"a CRN needs at least one head and one trunk layer, got heads {list(heads)} "
                f"and trunk {trunk}"
            )
        self.heads = tuple(heads)
        inputs = [3] + [width] * (trunk - 1)
        self.trunk = nn.Sequential(*(rectified(channels, width) for channels in inputs))
        self.branches = nn.ModuleList(
            nn.Sequential(
                narrow_mapping(width, shrink, expand, mapping), image_convolution(expand, channels)
            )
            for channels in heads
        )

    def forward(self, image: Float[Tensor, "b 3 h w"]) -> list[Float[Tensor, "b _ h w"]]:
        """One output for each head, for an image in [0, 1] of any size."""
        features = self.trunk(centred(image))
        return [branch(features) for branch in self.branches]
