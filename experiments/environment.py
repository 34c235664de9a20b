"""environment.json: which commit, packages and machine made a run."""

import json
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from experiments.settings import ROOT

PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "jsonargparse",
    "albumentations",
    "kornia",
    "timm",
    "numpy",
    "opencv-python-headless",
    "pillow",
)
TUNING = (
    "MALLOC_MMAP_MAX_",
    "MALLOC_TRIM_THRESHOLD_",
    "MALLOC_TOP_PAD_",
    "GOMP_SPINCOUNT",
)


def _git(*arguments: str) -> str | None:
    """What git says about this checkout; None where there is no git or no repository."""
    try:
        answer = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True, timeout=20
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def describe() -> dict[str, Any]:
    """The commit (and whether files differ from it), versions, platform and tuning."""
    changes = _git("status", "--porcelain")
    return {
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": None if changes is None else bool(changes),
        "python": platform.python_version(),
        "packages": {package: _version(package) for package in PACKAGES},
        "platform": platform.platform(),
        "processor": platform.machine(),
        "cpu_cores": os.cpu_count(),
        "tuned": all(name in os.environ for name in TUNING),
        "tuning": {name: os.environ.get(name) for name in TUNING},
    }


def write(path: Path) -> None:
    """Writes `describe()` as JSON.

    Raises:
        OSError: if the file cannot be written.
    """
    path.write_text(json.dumps(describe(), indent=2) + "\n", encoding="utf-8")
