"""What decides the bits is named: the processor's instructions and the libraries that multiply."""

from __future__ import annotations

import re

import pytest
import torch

from dsabench.training.provenance import blas_version, parse_blas, processor_capability

# As builds of torch print it: for Linux on x86, and for ARM.
X86 = """PyTorch built with:
  - GCC 13.3
  - C++ Version: 201703
  - Intel(R) oneAPI Math Kernel Library Version 2024.2-Product Build 20240605 for Intel(R) 64 architecture applications
  - Intel(R) MKL-DNN v3.7.1 (Git Hash 8d263e693366ef8db40acc569cc7d8edf644556d)
  - OpenMP 201511 (a.k.a. OpenMP 4.5)
  - CPU capability usage: AVX512
  - Build settings: BLAS_INFO=mkl, BUILD_TYPE=Release, USE_MKL=ON,
"""
ARM = """PyTorch built with:
  - GCC 11.4
  - Intel(R) MKL-DNN v3.5.3 (Git Hash 66f0cb9eb66affd2da3bf5f8d897376f04aae6af)
  - CPU capability usage: NEON
  - Build settings: BLAS_INFO=open, BUILD_TYPE=Release, USE_MKL=OFF,
"""


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (X86, "MKL 2024.2, oneDNN 3.7.1"),
        (ARM, "OpenBLAS, oneDNN 3.5.3"),
        ("OpenBLAS Version 0.3.26.\n", "OpenBLAS 0.3.26"),
        ("  - Build settings: BLAS_INFO=accelerate,", "accelerate"),
        ("", ""),
    ],
)
def test_the_libraries_are_read_from_what_torch_says_of_its_build(config: str, expected: str) -> None:
    assert parse_blas(config) == expected


def test_this_build_says_what_it_multiplies_with() -> None:
    assert re.fullmatch(r"\w+( [\d.]+)?(, \w+ [\d.]+)*", blas_version())


def test_the_capability_is_the_processors(monkeypatch: pytest.MonkeyPatch) -> None:
    assert processor_capability("cpu") == torch.backends.cpu.get_cpu_capability() != ""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert processor_capability("cuda") == "sm_90"
