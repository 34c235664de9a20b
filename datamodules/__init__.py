"""Data: one DataModule a data set, and the functions they share."""

import os

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # its import would ask the package index

import ops  # noqa: F401 - repairs torchvision before Lightning imports it
