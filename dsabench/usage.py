"""What a run uses: peak memory, the device's name, and where the code came from."""

from __future__ import annotations

import ctypes
import functools
import platform
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

# Of glibc's malloc.h: the numbers of M_MMAP_MAX and M_TRIM_THRESHOLD, with what they usually are and in training.
MALLOC_SETTINGS = {-4: (65536, 0), -1: (128 * 2**10, 2**31 - 1)}


@contextmanager
def freed_memory_kept() -> Iterator[None]:
    """Let this process keep what it frees, where the C library is glibc; changes no number.

    Every step of training frees hundreds of megabytes and asks for them again, and the system's fresh pages cost as
    much as the arithmetic on them: a step of ResNet-18 at 32 px is a quarter faster (python -m benchmarks.end_to_end).
    Afterwards the memory goes back.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not hasattr(library, "mallopt"):
        yield
        return
    for number, (_, kept) in MALLOC_SETTINGS.items():
        library.mallopt(number, kept)
    try:
        yield
    finally:
        for number, (usual, _) in MALLOC_SETTINGS.items():
            library.mallopt(number, usual)
        library.malloc_trim(0)


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
