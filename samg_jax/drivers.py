"""The NVIDIA driver of this machine, and the extra of this package for it."""

from __future__ import annotations

import os
import pathlib
import re
import shutil
import subprocess

# The file in which the kernel reports the driver's version. launch/cuda.sh knows the
# variable and the same rules.
FILE = "/proc/driver/nvidia/version"
VARIABLE = "NVIDIA_DRIVER_FILE"
NEWER = 580  # The first driver with CUDA 13.
SECONDS = 10  # A timeout for nvidia-smi, which can hang on a broken driver.


def exists() -> bool:
    """Whether this machine has an NVIDIA driver."""
    return _file().exists() or shutil.which("nvidia-smi") is not None


def extra() -> str | None:
    """The extra for this driver, `cuda` or `cuda13`; None without a driver."""
    if not exists():
        return None
    found = re.search(r"CUDA [A-Z ]*Version: *([0-9]+)\.", smi())
    if found:
        return "cuda13" if int(found[1]) >= 13 else "cuda"
    try:
        found = re.search(r" ([0-9]{3,4})\.[0-9]+", _file().read_text())
    except (OSError, UnicodeDecodeError):
        found = None
    return "cuda13" if found and int(found[1]) >= NEWER else "cuda"


def advice() -> str:
    """The extra that a GPU needs here, as part of a sentence."""
    name = extra()
    if name is None:
        return (
            f"a GPU needs the extra `cuda`, or `cuda13` from driver {NEWER} on, but no "
            "NVIDIA driver is found here"
        )
    return (
        f"the driver here needs the extra `{name}`, by bash launch/install.sh or pip "
        f'install -e ".[{name}]"'
    )


def smi(*arguments: str) -> str:
    """What nvidia-smi prints; empty where it is missing or hangs."""
    try:
        return subprocess.run(
            ["nvidia-smi", *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""


def _file() -> pathlib.Path:
    return pathlib.Path(os.environ.get(VARIABLE) or FILE)
