"""What NASFE's residual and deveiling operators read in features before they apply it.

Paper: NASFE, "Network Architecture Search for Face Enhancement", Fig. 4a and 4c.
"""

import torch
from torch import nn


def estimation(channels: int, start: float) -> tuple[nn.Conv2d, nn.Conv2d]:
    """Two 3x3 convolutions, between which a ReLU belongs, whose estimate starts near `start`.

    The second one's weights are a tenth of torch's and its bias is `start`, so that a fresh
    operator is close to the identity; the paper says nothing of it.

    Args:
        channels: of the features, and of what is estimated.
        start: what a fresh pair estimates everywhere, nearly.

    Raises:
        ValueError: if `channels` is below 1.
    """
    if channels < 1:
        raise ValueError(f"features need at least one channel, got {channels}")
    first, second = (nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
    with torch.no_grad():
        second.weight.mul_(0.1)
    nn.init.constant_(second.bias, start)  # type: ignore[arg-type]
    return first, second
