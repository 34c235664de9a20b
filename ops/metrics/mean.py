"""Means over images, exact over processes."""

from abc import ABC
from typing import Any, final

import torch
from jaxtyping import Float, Float64
from torch import Tensor
from torchmetrics import Metric


class MeanOfImages(Metric, ABC):
    """The mean of a figure over all images seen, on all processes; sums in float64.

    An image whose figure is not a number makes the mean so: it has to show.

    Args:
        kwargs: of torchmetrics' Metric.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    count: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("total", "count"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, figures: Float[Tensor, " b"]) -> None:
        """Takes the figure of each image into the mean."""
        self.total += figures.double().sum()
        self.count += len(figures)

    def compute(self) -> Float64[Tensor, ""]:
        """The mean, NaN where no image was seen."""
        return self.total / self.count


@final
class Mean(MeanOfImages):
    """The mean of figures that others work out."""

    def update(self, figures: Float[Tensor, " b"]) -> None:
        """Take each image's figure into the mean."""
        self.add(figures)
