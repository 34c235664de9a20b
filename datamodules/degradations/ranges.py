"""Ranges that parameters are drawn from."""

import numpy as np

Range = tuple[float, float]
"""Least and most, both possible."""


def check_range(name: str, values: Range, least: float = -np.inf, most: float = np.inf) -> None:
    """Nothing, for a range that ascends (or is one value) and lies in [`least`, `most`].

    Raises:
        ValueError: if it does not.
    """
    low, high = values
    if not least <= low <= high <= most:
        raise ValueError(
            f"{name} must ascend and lie in [{least:g}, {most:g}], got ({low}, {high})"
        )
