"""Plain torch: operators, networks, losses and metrics. Knows no Lightning, settings or files."""

from ops._torchvision_compat import declare_missing_operators

declare_missing_operators()
