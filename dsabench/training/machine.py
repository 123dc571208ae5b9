"""This process as a run wants it: threads, memory, determinism."""

from __future__ import annotations

import os

import torch


def prepare(threads: int, *, deterministic: bool = False) -> None:
    """Set this process's threads, and whether CUDA has to repeat itself exactly."""
    torch.set_num_threads(threads)
    if deterministic:
        # cuBLAS repeats itself only with a workspace of a fixed size, which it asks for when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
