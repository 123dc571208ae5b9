"""Checkpoints of what an evaluation trains by a loop of its own: two generations, verified when read."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from dsabench.evaluation.feature_files import is_whole, seal
from dsabench.files import write_atomic
from dsabench.training.checkpoint import read_checkpoint, write_checkpoint
from dsabench.training.loop import CHECKPOINT_S
from dsabench.training.run import GENERATIONS, say


class Checkpoints:
    """Those in a folder, which need not exist yet, one each few seconds."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.saved = time.monotonic()

    def newest(self) -> tuple[dict[str, Tensor], int] | None:
        """The tensors of the newest sound checkpoint and the steps that were done; a damaged one is named."""
        for path in reversed(self._paths()):
            if is_whole(path):
                tensors, about = read_checkpoint(path)
                return tensors, int(about["step"])
            say(f"warning: the checkpoint {path} is damaged; using the one before, or starting from the beginning")
        return None

    def due(self) -> bool:
        """Whether the last checkpoint was long enough ago."""
        return time.monotonic() - self.saved >= CHECKPOINT_S

    def save(self, step: int, tensors: Mapping[str, Tensor]) -> None:
        """Write a checkpoint after so many steps, and remove those that are no longer kept."""
        path = self.folder / f"step-{step:08d}.safetensors"
        write_atomic(seal(path), write_checkpoint(path, tensors, {"step": step}) + "\n")
        for older in self._paths()[:-GENERATIONS]:
            older.unlink(missing_ok=True)
            seal(older).unlink(missing_ok=True)
        self.saved = time.monotonic()

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("step-*.safetensors"))
