"""What the steps of an epoch said, without a wait for the device at each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from dsabench.training.position import Position


class Tally:
    """The sums of an epoch's losses and diagnostics, kept on the device, and the values of steps not looked at yet.

    What is read of them is the mean over the processes of the run, by `mean`.
    """

    def __init__(self, position: Position, device: torch.device, mean: Callable[[Tensor], Tensor]) -> None:
        self.mean = mean
        # Sums in float64, and so the same however often they are written down; MPS has none.
        self.dtype = torch.float32 if device.type == "mps" else torch.float64
        self.names = [name for name in position.sums if name != "lr"]
        values = [position.sums[name] for name in self.names]
        self.total = torch.tensor(values, dtype=self.dtype, device=device) if values else None
        self.lr = position.sums.get("lr", 0.0)
        self.waiting: list[tuple[int, Tensor]] = []
        self.last_loss: float | None = None

    @torch.no_grad()
    def add(self, step: int, values: Mapping[str, Tensor], lr: float) -> None:
        """Add a step's scalars, the same names each time."""
        if self.total is not None and self.names != list(values):
            # The sums of half an epoch that an earlier version began, which may know other diagnostics.
            known = dict(zip(self.names, self.total, strict=True))
            self.total = torch.stack([known.get(name, torch.zeros_like(self.total[0])) for name in values])
        self.names = list(values)
        now = torch.stack([value.detach().float() for value in values.values()])
        self.waiting.append((step, now))
        self.total = now.to(self.dtype) if self.total is None else self.total + now
        self.lr += lr

    @property
    def unseen(self) -> int:
        """Steps that were not looked at."""
        return len(self.waiting)

    def look(self) -> Iterator[tuple[int, dict[str, float]]]:
        """The values of those steps, by one transfer."""
        if self.waiting:
            steps, values = zip(*self.waiting, strict=True)
            self.waiting = []
            for step, row in zip(steps, self.mean(torch.stack(values)).tolist(), strict=True):
                self.last_loss = row[0]
                yield step, dict(zip(self.names, row, strict=True))

    def sums(self) -> dict[str, float]:
        """The sums of the epoch so far."""
        if self.total is None:
            return {}
        sums = dict(zip(self.names, self.mean(self.total).tolist(), strict=True))
        return {"loss": sums.pop("loss"), "lr": self.lr, **sums}

    def clear(self) -> None:
        """Begin an epoch."""
        self.total, self.lr = None, 0.0
