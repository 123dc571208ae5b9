"""What a run uses: peak memory, the device's name, and where the code came from."""

from __future__ import annotations

import ctypes
import functools
import platform
import resource
import subprocess
import sys
from pathlib import Path

import torch

# Of glibc's malloc.h: the numbers of the two settings, and the largest value that the second may have.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_MMAP_THRESHOLD = 32 * 2**20
KEPT_BYTES = 256 * 2**20


def keep_freed_memory() -> None:
    """Let this process keep up to `KEPT_BYTES` that it has freed, where the C library is glibc; changes no number.

    Every step frees megabytes and asks for them again, and the system's fresh pages cost more than the arithmetic on
    them: views of 32 px gain a third and more (python -m benchmarks.augment).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
        mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement of peak memory; one process may train many runs."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        # Not Linux, or not allowed: the peak is then that of the whole process.
        return


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory in megabytes: of the device's allocator on CUDA, resident memory of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    try:
        status = Path("/proc/self/status").read_text()
        return float(status.split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    except (OSError, IndexError):
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6


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
    root = Path(__file__).resolve().parent.parent

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
