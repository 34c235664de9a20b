"""Where a face needs retouching: a small U-Net and its slowly following teacher (RetouchFormer)."""

import copy
import itertools
import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ops.kernels.moving_average import update_moving_average
from ops.nets.blocks import SLOPE, Merge, ResidualBlock, centred, convolution, zero_convolution


class UNet(nn.Module):
    """One logit a pixel, from features at as many sizes as there are multipliers.

    Args:
        inputs: channels of the input.
        base: width at full size.
        multipliers: width of each level over `base`, finest first; each step halves the size.
        start: what the sigmoid of every output is before training, in (0, 1).

    Raises:
        ValueError: if `start` is not in (0, 1).
    """

    def __init__(
        self,
        inputs: int,
        base: int = 32,
        multipliers: tuple[int, ...] = (1, 2, 4, 8),
        start: float = 0.1,
    ) -> None:
        super().__init__()
        if not 0 < start < 1:
            raise ValueError(f"start must be in (0, 1), got {start}")
        widths = [base * multiplier for multiplier in multipliers]
        self.stride = 2 ** (len(widths) - 1)
        pairs = list(itertools.pairwise(widths))
        self.stem = convolution(inputs, base)
        self.downs = nn.ModuleList(convolution(fine, coarse, 3, 2) for fine, coarse in pairs)
        self.before = nn.ModuleList(ResidualBlock(width, width) for width in widths)
        self.merges = nn.ModuleList(Merge(coarse, fine) for fine, coarse in pairs)
        self.after = nn.ModuleList(ResidualBlock(width, width) for width in widths[:-1])
        self.head = zero_convolution(base, 1, bias=math.log(start / (1 - start)))

    def forward(self, x: Float[Tensor, "b c h w"]) -> Float[Tensor, "b 1 h w"]:
        """The logits; h and w must be multiples of `stride`."""
        x = self.before[0](self.stem(x))
        maps = [x]
        for down, block in zip(self.downs, list(self.before)[1:], strict=True):
            x = block(down(x))
            maps.append(x)
        for level in reversed(range(len(self.merges))):
            x = self.after[level](self.merges[level](x, maps[level]))
        return self.head(F.leaky_relu(x, SLOPE))


class MaskNetwork(nn.Module):
    """The two streams of the soft mask: H, which learns, and its moving average, the teacher.

    There are no batch statistics and no dropout inside, so training and evaluation mode agree.

    Args:
        sees_prior: whether the streams see the reconstruction beside the image; False is the
            ablation without the clean-face prior.
        base: width of the U-Nets at full size.
        multipliers: width of each level over `base`.
        start: value of the untrained mask.

    Raises:
        ValueError: if `start` is not in (0, 1).
    """

    def __init__(
        self,
        sees_prior: bool = True,
        base: int = 32,
        multipliers: tuple[int, ...] = (1, 2, 4, 8),
        start: float = 0.1,
    ) -> None:
        super().__init__()
        self.sees_prior = sees_prior
        self.student = UNet(6 if sees_prior else 3, base, multipliers, start)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.stride = self.student.stride

    def forward(
        self, image: Float[Tensor, "b 3 h w"], reconstruction: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """The student's logits; they teach the student alone, not the prior."""
        return self.student(self._input(image, reconstruction))

    def soft_mask(
        self, image: Float[Tensor, "b 3 h w"], reconstruction: Float[Tensor, "b 3 h w"]
    ) -> Float[Tensor, "b 1 h w"]:
        """f_H, the sigmoid of the teacher's logits: in (0, 1), without a gradient."""
        return self.teacher(self._input(image, reconstruction)).sigmoid()

    def update_teacher(self, decay: float = 0.99) -> None:
        """Moves the teacher a step of 1 - `decay` towards the student (the paper's mu is 0.99).

        Raises:
            ValueError: if `decay` is not in [0, 1].
        """
        update_moving_average(self.teacher, self.student, decay)

    def _input(self, image: Tensor, reconstruction: Tensor) -> Tensor:
        # Detached: the paper minimises the mask's terms over H alone.
        shown = [image, reconstruction] if self.sees_prior else [image]
        return centred(torch.cat(shown, dim=1).detach())
