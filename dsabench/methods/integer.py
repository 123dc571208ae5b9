"""Numbers of the state that Python branches on: in every checkpoint, and never waited for."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KnownInteger(nn.Module):
    """An integer in a buffer, so that a checkpoint holds it, which `forward` may branch on.

    To read a buffer is to wait for its device, so Python keeps the value too, and reads it again only where something
    other than `set` wrote to the buffer since: a checkpoint that was restored.
    """

    buffer: Tensor

    def __init__(self, value: int) -> None:
        super().__init__()
        self.register_buffer("buffer", torch.tensor(int(value)))
        self.known = value
        self.seen = self.buffer._version

    def get(self) -> int:
        if self.seen != self.buffer._version:
            self.known, self.seen = int(self.buffer), self.buffer._version
        return self.known

    def set(self, value: int) -> None:
        self.buffer.fill_(value)
        self.known, self.seen = value, self.buffer._version
