"""Photographs made of arithmetic, for tests that need no folder."""

import numpy as np


class Made:
    """So many pictures of smooth waves, which no two have in common."""

    people = None

    def __init__(self, count, height=40, width=32, first=0):
        self.count, self.height, self.width, self.first = count, height, width, first

    def __len__(self):
        return self.count

    def name(self, i):
        return f"folder/{i:03d}"

    def picture(self, i):
        y, x, c = np.mgrid[: self.height, : self.width, :3]
        return (128 + 90 * np.sin(y / 5 + i + self.first) * np.cos(x / 4 + c)).astype(np.uint8)
