"""TensorBoard's event files of a run, while it trains: what `log.csv` holds, an epoch a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

from dsabench.errors import UsageError

# What is told of an epoch: a row of the log.
Told = Callable[[Mapping[str, float]], None]


def unheard(row: Mapping[str, float]) -> None:
    """Nobody is told."""


def check_tensorboard() -> None:
    """Raise UsageError where the extra is not installed."""
    if find_spec("tensorboard") is None:
        raise UsageError("--tensorboard needs an extra; install it with: pip install 'dsabench[tensorboard]'")


@contextmanager
def event_files(folder: Path) -> Iterator[Told]:
    """A function that writes rows of the log into `folder`, at once; of a run that goes on, over those lost in between.

    Nothing is made before the first row.
    """
    from torch.utils.tensorboard import SummaryWriter

    writer: SummaryWriter | None = None

    def tell(row: Mapping[str, float]) -> None:
        nonlocal writer
        epoch = int(row["epoch"])
        if writer is None:
            writer = SummaryWriter(str(folder), purge_step=epoch)
        for name, value in row.items():
            if name != "epoch":
                writer.add_scalar(name, value, epoch)
        writer.flush()

    try:
        yield tell
    finally:
        if writer is not None:
            writer.close()
