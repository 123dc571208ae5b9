"""From the processor to an accelerator, without waiting for it."""

from __future__ import annotations

import torch
from torch import Tensor


def send(x: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`; what CUDA still has to do before is not waited for.

    A plain copy to CUDA waits for all work that was given to the device, and every step would do so as often as it
    draws something. What is drawn may be forgotten at once: CUDA has taken it from memory that is not pinned by then.
    """
    # Elsewhere there is nothing to gain, and MPS would read memory that may be another's by then.
    return x.to(device, non_blocking=device.type == "cuda")
