"""The gradient by an architecture of what its weights lose after their next step.

Paper: DARTS (Liu, Simonyan and Yang, "DARTS: Differentiable Architecture Search", ICLR 2019),
Section 2.3. Written from the equations.
"""

from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

REACH: Final = 0.01  # length of the steps of the finite difference, as in DARTS
Loss = Callable[[], Tensor]
Mean = Callable[[Tensor], Tensor]


class Unrolled(NamedTuple):
    """A loss, and its gradient by each of the architecture's tensors."""

    loss: Float[Tensor, ""]
    gradient: list[Tensor]


def unrolled_gradient(
    training: Loss,
    validation: Loss,
    weights: Sequence[Tensor],
    architecture: Sequence[Tensor],
    rate: float,
    mean: Mean = lambda gradient: gradient,
) -> Unrolled:
    r"""The validation loss at weights one step ahead, and its gradient by alpha (DARTS Eq. 6 to 8).

    .. math:: w' = w - \xi \nabla_w L_{train}(w, \alpha)

    .. math:: \nabla_\alpha L_{val}(w', \alpha)
        - \xi \nabla^2_{\alpha, w} L_{train}(w, \alpha) \, \nabla_{w'} L_{val}(w', \alpha)

    .. math:: \nabla^2_{\alpha, w} L_{train}(w, \alpha) \, v \approx
        \frac{1}{2 \epsilon} \left( \nabla_\alpha L_{train}(w + \epsilon v, \alpha)
        - \nabla_\alpha L_{train}(w - \epsilon v, \alpha) \right)

    The weights are moved in place and are bit for bit what they were when this returns or raises.

    Args:
        training: gives L_train, always with the same draws; asked three times.
        validation: gives L_val.
        weights: w, tensors that require gradients.
        architecture: alpha, likewise.
        rate: xi.
        mean: of a gradient by the weights over all processes, so that all take the same step.
    """
    kept = [weight.detach().clone() for weight in weights]
    try:
        slope = [mean(part) for part in _gradient(training(), weights)]
        _place(weights, kept, slope, -rate)
        loss = validation()
        both = _gradient(loss, [*weights, *architecture])
        direct = both[len(weights) :]
        outward = [mean(part) for part in both[: len(weights)]]
        length = torch.stack([part.square().sum() for part in outward]).sum().sqrt()
        # Weights that the validation loss does not see stay where they are.
        epsilon = float(REACH / length) if length > 0 else 0.0
        ends = []
        for side in (epsilon, -epsilon):
            _place(weights, kept, outward, side)
            ends.append(_gradient(training(), architecture))
    finally:
        _place(weights, kept, kept, 0.0)
    across = 2 * epsilon or 1.0
    pairs = zip(direct, *ends, strict=True)
    gradient = [part - rate * (ahead - behind) / across for part, ahead, behind in pairs]
    return Unrolled(loss.detach(), gradient)


def with_gradient(
    loss: Float[Tensor, ""], tensors: Sequence[Tensor], gradient: Sequence[Tensor]
) -> Float[Tensor, ""]:
    """`loss`, whose gradient by `tensors` is the given one."""
    flat = [
        (slope * (tensor - tensor.detach())).sum()
        for tensor, slope in zip(tensors, gradient, strict=True)
    ]
    return loss.detach() + torch.stack(flat).sum()


def _gradient(loss: Tensor, tensors: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """The gradient by each of `tensors`, zeros where the loss does not know it."""
    return torch.autograd.grad(loss, tensors, allow_unused=True, materialize_grads=True)


@torch.no_grad()
def _place(
    weights: Sequence[Tensor], start: Sequence[Tensor], direction: Sequence[Tensor], length: float
) -> None:
    """Puts the weights at `start` plus `length` times `direction`."""
    for weight, origin, slope in zip(weights, start, direction, strict=True):
        weight.copy_(origin if not length else origin + length * slope)
    torch.clear_autocast_cache()  # or half precision would go on with the weights as they were
