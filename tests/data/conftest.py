from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    # Batches this small only wait for one another on several threads.
    torch.set_num_threads(1)


@pytest.fixture
def write_folder() -> Callable[..., None]:
    """Write `splits` (name -> images a class) of noise, half PNG and half JPEG; the name "" is the root itself."""

    def write(
        root: Path,
        splits: dict[str, int],
        *,
        classes: Sequence[str] = ("ant", "bee", "cat"),
        size: tuple[int, int] = (12, 12),
    ) -> None:
        draw = np.random.default_rng(0)
        for split, count in splits.items():
            for name in classes:
                folder = root / split / name
                folder.mkdir(parents=True)
                for position in range(count):
                    pixels = draw.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
                    Image.fromarray(pixels).save(folder / f"{position:03d}.{'png' if position % 2 else 'jpg'}")

    return write
