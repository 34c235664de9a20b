"""How a discrepancy is cut into what the heads of a network predict, and put together again.

Paper: Makeup-Go, "Blind Reversion of Portrait Edit" (ICCV 2017), Section 4.3. The first components
have a head each; one more head predicts all that remain.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Float64
from torch import Tensor, nn

from ops.kernels.component import ComponentBasis, apply_kernels
from ops.kernels.mirrored_filter import divide, gain_on_grid, multiply, nearest_filter
from ops.kernels.scales import Scales, check_dedicated

COLOURS = 3


class Heads(nn.Module, ABC):
    """What each head predicts of a discrepancy, and the discrepancy from what they predicted."""

    @property
    @abstractmethod
    def channels(self) -> tuple[int, ...]:
        """The number of maps that each head gives."""

    @abstractmethod
    def targets(self, discrepancy: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ h w"]]:
        """What each head has to give for this discrepancy.

        Raises:
            ValueError: if the discrepancy has not 3 channels.
        """

    @abstractmethod
    def assemble(self, outputs: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """The discrepancy that the outputs stand for; linear, so a head of zeros adds nothing.

        Raises:
            ValueError: if the outputs do not have the channels that the heads have.
        """


@final
class Whitened(Heads):
    r"""`dedicated` maps I^(i) / sigma_i and one map of all that remain, whitened.

    Deviation: the paper divides each remaining component by its deviation, sums them, and "by
    multiplying corresponding standard deviation" undoes it, which a sum does not allow: it has
    lost i. But both the sum of the remaining components and that of the divided ones are the
    discrepancy under a filter, with gains

    .. math:: T = \frac{1}{m^2} \sum_{i>k} |K_i|^2, \qquad
              W = \frac{1}{m^2} \sum_{i>k} |K_i|^2 / \sigma_i,

    whose ratio T / W is a mean of the sigma_i at every frequency, hence bounded on both sides. So
    the exact rest r, the discrepancy less the dedicated components, is divided by V and the
    output is multiplied by V, where V is the 11 x 11 filter nearest to T / W that is positive
    and even along both axes. With the picture continued by its mirror image, such a filter is
    inverted exactly at every pixel (`test_what_was_cut_is_put_together_again`), and the map is
    within a few percent the sum of the divided components
    (`test_the_whitened_map_is_nearly_the_sum_of_the_scaled_components`).

    In joint_rgb one filter cannot do, for luminance and colour differ much: the rest is turned to
    its own principal colours, and each of the three has a filter.

    With dedicated = 0 nothing is decomposed: one map, divided by `scales.rest`.

    Attributes:
        kernels: filters that cut the dedicated components out, divided by sigma_i.
        sigmas: scales of the dedicated components, (dedicated,).
        rest: scale of the last map, ().
        colours: the axes on which the rest is whitened, as columns, (k, k); k is 1 where all
            channels are treated alike.
        undo: V for each of these, (k, 11, 11).

    Args:
        basis: the components.
        dedicated: how many have a head of their own; the paper uses 7.
        scales: what to divide by.

    Raises:
        ValueError: if `dedicated` is not from 0 to n - 1, or there is not a scale a component.
    """

    kernels: Tensor
    sigmas: Tensor
    rest: Tensor
    colours: Tensor
    undo: Tensor

    def __init__(self, basis: ComponentBasis, dedicated: int, scales: Scales) -> None:
        super().__init__()
        _check(basis, dedicated, scales)
        self.mode = basis.mode
        self.dedicated = dedicated
        kernels = basis.kernels([[i] for i in range(basis.count)])
        sigmas = scales.components.double().to(kernels.device)
        axes = _principal_colours(basis, dedicated)
        undo = nearest_filter(_mean_scale(kernels[dedicated:], sigmas[dedicated:], axes))
        self.register_buffer("kernels", _divided(kernels[:dedicated], sigmas[:dedicated]))
        self.register_buffer("sigmas", sigmas[:dedicated].float())
        self.register_buffer("rest", sigmas.new_tensor(scales.rest).float())
        self.register_buffer("colours", axes.float())
        self.register_buffer("undo", undo.float())

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of maps that each head gives."""
        return (COLOURS,) * (self.dedicated + 1)

    def targets(self, discrepancy: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ h w"]]:
        """I^(i) / sigma_i of each dedicated component and the whitened rest.

        Raises:
            ValueError: if the discrepancy has not 3 channels.
        """
        _check_colours(discrepancy)
        exact = _exact(discrepancy)
        if not self.dedicated:
            return [(exact / self.rest).to(discrepancy.dtype)]
        parts = apply_kernels(exact, self.kernels, self.mode)
        rest = exact - _weighted_sum(parts, self.sigmas)
        return [part.to(discrepancy.dtype) for part in [*parts, self._whiten(rest) / self.rest]]

    def assemble(self, outputs: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """The discrepancy that the outputs stand for, by one 11 x 11 convolution and a sum.

        Raises:
            ValueError: if the outputs do not have the channels that the heads have.
        """
        _check_outputs(outputs, self.channels)
        exact = [_exact(output) for output in outputs]
        rest = exact[-1] * self.rest
        if not self.dedicated:
            return rest.to(outputs[0].dtype)
        whole = _weighted_sum(exact[:-1], self.sigmas) + self._restore(rest)
        return whole.to(outputs[0].dtype)

    def _whiten(self, rest: Tensor) -> Tensor:
        filters = self.undo.expand(COLOURS, -1, -1)
        return _turn(divide(_turn(rest, self.colours), filters), self.colours.mT)

    def _restore(self, whitened: Tensor) -> Tensor:
        # A filter for each colour even where they are the same: a third of the time.
        filters = self.undo.expand(COLOURS, -1, -1)
        return _turn(multiply(_turn(whitened, self.colours), filters), self.colours.mT)


@final
class Maps(Heads):
    """`dedicated` maps I^(i) / sigma_i and, from one more head, those of all that remain.

    Exact and literal, but the last head has 3 (n - dedicated) maps: 342 of 121 components with 7
    of their own, ordered by component, then colour. With dedicated = 0 nothing is decomposed:
    one map, divided by `scales.rest`.

    Attributes:
        kernels: filters that cut the components out, divided by sigma_i; none without any heads
            of their own.
        sigmas: scales of these components.
        rest: scale of the one map that is not decomposed, ().

    Args:
        basis: the components.
        dedicated: how many have a head of their own.
        scales: what to divide by.

    Raises:
        ValueError: if `dedicated` is not from 0 to n - 1, or there is not a scale a component.
    """

    kernels: Tensor
    sigmas: Tensor
    rest: Tensor

    def __init__(self, basis: ComponentBasis, dedicated: int, scales: Scales) -> None:
        super().__init__()
        _check(basis, dedicated, scales)
        self.mode = basis.mode
        self.dedicated = dedicated
        count = basis.count if dedicated else 0
        kernels = basis.kernels([[i] for i in range(count)])
        sigmas = scales.components[:count].double().to(kernels.device)
        self.register_buffer("kernels", _divided(kernels, sigmas))
        self.register_buffer("sigmas", sigmas.float())
        self.register_buffer("rest", sigmas.new_tensor(scales.rest).float())

    @property
    def channels(self) -> tuple[int, ...]:
        """The number of maps that each head gives."""
        remaining = max(1, len(self.sigmas) - self.dedicated)
        return (COLOURS,) * self.dedicated + (COLOURS * remaining,)

    def targets(self, discrepancy: Float[Tensor, "b c h w"]) -> list[Float[Tensor, "b _ h w"]]:
        """I^(i) / sigma_i of each dedicated component and of all that remain, in one tensor.

        Raises:
            ValueError: if the discrepancy has not 3 channels.
        """
        _check_colours(discrepancy)
        if not self.dedicated:
            return [(_exact(discrepancy) / self.rest).to(discrepancy.dtype)]
        parts = apply_kernels(discrepancy, self.kernels, self.mode)
        return [*parts[: self.dedicated], torch.cat(parts[self.dedicated :], 1)]

    def assemble(self, outputs: Sequence[Float[Tensor, "b _ h w"]]) -> Float[Tensor, "b c h w"]:
        """The discrepancy that the outputs stand for: the sum of all maps times their scales.

        Raises:
            ValueError: if the outputs do not have the channels that the heads have.
        """
        _check_outputs(outputs, self.channels)
        *parts, remaining = (_exact(output) for output in outputs)
        if not self.dedicated:
            return (remaining * self.rest).to(outputs[0].dtype)
        parts += remaining.split(COLOURS, 1)
        return _weighted_sum(parts, self.sigmas).to(outputs[0].dtype)


def _check(basis: ComponentBasis, dedicated: int, scales: Scales) -> None:
    check_dedicated(dedicated, basis.count)
    if scales.components.shape != (basis.count,):
        raise ValueError(
            f"scales must hold a number for each of the {basis.count} components, "
            f"got shape {tuple(scales.components.shape)}"
        )


def _check_colours(discrepancy: Tensor) -> None:
    if discrepancy.shape[1] != COLOURS:
        raise ValueError(
            f"the discrepancy must have {COLOURS} channels, got {discrepancy.shape[1]}"
        )


def _check_outputs(outputs: Sequence[Tensor], channels: tuple[int, ...]) -> None:
    if (found := tuple(output.shape[1] for output in outputs)) != channels:
        raise ValueError(f"the heads' outputs must have {channels} channels, got {found}")


def _exact(maps: Tensor) -> Tensor:
    """The maps in float32, or in float64 where they are."""
    return maps if maps.dtype == torch.float64 else maps.float()


def _divided(kernels: Tensor, sigmas: Tensor) -> Tensor:
    return (kernels / sigmas.view(-1, 1, 1, 1, 1)).float()


def _weighted_sum(parts: Sequence[Tensor], weights: Tensor) -> Tensor:
    total = parts[0] * weights[0]
    for part, weight in zip(parts[1:], weights[1:], strict=True):
        total = total + part * weight
    return total


def _turn(maps: Tensor, axes: Tensor) -> Tensor:
    """The maps along other axes of colour, given as columns; no product for autocast to cast."""
    if len(axes) == 1:
        return maps
    return (maps.unsqueeze(2) * axes.to(maps.dtype)[:, :, None, None]).sum(1)


def _principal_colours(basis: ComponentBasis, dedicated: int) -> Float64[Tensor, "k k"]:
    """The axes of colour in which the remaining components vary independently, as columns."""
    patches = basis.vectors[dedicated:].double().view(basis.count - dedicated, basis.channels, -1)
    moment = torch.einsum("i,ijs,iks->jk", basis.eigenvalues[dedicated:].double(), patches, patches)
    return torch.linalg.eigh(moment).eigenvectors


def _mean_scale(kernels: Tensor, sigmas: Tensor, axes: Tensor) -> Float64[Tensor, "k rows columns"]:
    """T / W on each axis of colour: the mean of the sigmas by what passes at each frequency."""
    along = torch.einsum("ja,ijkyx,ka->iayx", axes, kernels, axes)
    whole = gain_on_grid(along.sum(0))
    whitened = gain_on_grid((along / sigmas.view(-1, 1, 1, 1)).sum(0))
    # Where nothing passes, rounding alone would decide.
    little = 1e-9 * whole.amax()
    return (whole.clamp(min=0) + little) / (whitened.clamp(min=0) + little / sigmas.mean())
