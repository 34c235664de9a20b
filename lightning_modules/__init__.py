"""Training: one final LightningModule a paper, and what all of them share."""

import ops  # noqa: F401 - repairs torchvision before Lightning imports it
