"""This process as a run wants it: threads, memory, determinism."""

from __future__ import annotations

import os

import torch

from dsabench.config.run_config import RunConfig


def prepare(config: RunConfig) -> None:
    """Set this process's threads, memory and determinism to those of a run."""
    torch.set_num_threads(config.threads)
    if config.deterministic and config.device == "cuda":
        # cuBLAS repeats itself only with a workspace of a fixed size, which it asks for when it starts.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(config.deterministic and config.device == "cuda")
