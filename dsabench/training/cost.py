"""What a run uses: its peak memory, and what it lets the system have back."""

from __future__ import annotations

import ctypes
import resource
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
    much as the arithmetic on them: a step of ResNet-18 at 32 px is a quarter faster (`benchmarks.speed.end_to_end`).
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
