"""Metrics: a pure function under a thin torchmetrics class."""
