"""What a run writes down before its first step."""

from __future__ import annotations

import torch

from dsabench import __version__
from dsabench.config.run_config import RunConfig
from dsabench.data.dataset import Dataset
from dsabench.training.build import facts_of
from dsabench.training.provenance import blas_version, device_name, processor_capability, source_revision
from dsabench.training.run import utc_now


def facts(config: RunConfig, dataset: Dataset, n_devices: int, started_utc: str | None) -> dict[str, object]:
    """Where a run's numbers come from."""
    sha, dirty = source_revision()
    return {
        "dataset_sha256": dataset.sha256,
        "data_facts": dataset.facts._asdict(),
        **facts_of(config)._asdict(),
        "git_sha": sha,
        "git_dirty": dirty,
        "dsabench_version": __version__,
        "torch_version": torch.__version__,
        "device": device_name(config.device),
        "capability": processor_capability(config.device),
        "blas": blas_version(),
        "n_devices": n_devices,
        "started_utc": started_utc or utc_now(),
    }
