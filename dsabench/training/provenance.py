"""Where a run's numbers come from: the device's name, and the commit of the code."""

from __future__ import annotations

import functools
import platform
import subprocess
from pathlib import Path

import torch


def device_name(device: str) -> str:
    """`cpu (AMD EPYC)`, `cuda (NVIDIA H200)`: numbers are exact on one kind of hardware only."""
    if device == "cuda":
        return f"cuda ({torch.cuda.get_device_name()})"
    if device == "mps":
        return f"mps ({platform.machine()})"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"cpu ({names[0] if names else platform.processor() or platform.machine()})"


@functools.cache
def source_revision() -> tuple[str, bool | None]:
    """The git commit of dsabench's own checkout and whether it has changes; empty and None where there is none."""
    root = Path(__file__).resolve().parent.parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if Path(git("rev-parse", "--show-toplevel")) != root:
            return "", None
        # Tables are made while they are being added, and do not change what the code computes.
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain", "--", ".", ":!results"))
    except (OSError, subprocess.SubprocessError):
        return "", None
