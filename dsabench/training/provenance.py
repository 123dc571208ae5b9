"""Where a run's numbers come from: the device and what it computes with, and the commit of the code."""

from __future__ import annotations

import functools
import platform
import re
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


def processor_capability(device: str) -> str:
    """The instructions that kernels use, as in `AVX2`, `AVX512`, `sm_90`: devices of one name may differ in them."""
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        return f"sm_{major}{minor}"
    return torch.backends.cpu.get_cpu_capability()


@functools.cache
def blas_version() -> str:
    """The libraries that torch multiplies matrices with on a CPU, as in `MKL 2024.2, oneDNN 3.7.1`; empty if unsaid."""
    return parse_blas(torch.__config__.show())


def parse_blas(config: str) -> str:
    """`blas_version` from the text of `torch.__config__.show()`."""
    found = {
        # "Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for ..."
        "MKL": re.search(r"Math Kernel Library Version (\d[\d.]*)", config),
        "OpenBLAS": re.search(r"OpenBLAS (?:Version )?(\d[\d.]*)", config, re.IGNORECASE),
        # "Intel(R) MKL-DNN v3.7.1 (Git Hash ...)", its name until 2019.
        "oneDNN": re.search(r"(?:MKL-DNN|oneDNN) v(\d[\d.]*)", config),
    }
    versions = [f"{name} {match[1].rstrip('.')}" for name, match in found.items() if match]
    named = re.search(r"BLAS_INFO=(\w+)", config)
    # A build may name its library without a version.
    if named and not found["MKL"] and not found["OpenBLAS"]:
        versions.insert(0, "OpenBLAS" if named[1] == "open" else named[1])
    return ", ".join(versions)


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
