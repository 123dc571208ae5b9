"""The table of docs/data.md says what the code decides."""

from itertools import dropwhile, takewhile
from pathlib import Path

import pytest
from torch import nn

from dsabench.backbones import build_backbone
from dsabench.config.options import recipe
from dsabench.config.plan import DEFAULT_BACKBONE
from dsabench.data import DATASETS
from dsabench.data.dataset import Dataset, DatasetSpec
from dsabench.methods.simclr import RECIPES
from dsabench.registry import load

DOCS = (Path(__file__).parents[2] / "docs" / "data.md").read_text(encoding="utf-8")


def rows(after: str) -> list[list[str]]:
    """The cells of the first table behind a text, without its head."""
    lines = DOCS.partition(after)[2].split("\n")
    table = list(takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: not line.startswith("|"), lines)))
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table[2:]]


def stem(name: str, px: int) -> str:
    """What images meet first."""
    backbone = build_backbone(name, channels=3, image_size=px)
    first = next(module for module in backbone.modules() if isinstance(module, nn.Conv2d))
    return "3x3" if first.kernel_size == (3, 3) and first.stride == (1, 1) else "the model's own"


@pytest.mark.parametrize("row", rows("<!-- what a size gets -->"), ids=lambda row: f"{row[0]}px")
def test_what_a_size_gets(row: list[str]) -> None:
    px = int(row[0])
    empty = Dataset.__new__(Dataset)
    object.__setattr__(empty, "image_size", px)
    scale = empty.scale
    taken = recipe("simclr", scale)
    optimizer = f"{taken.optimizer['optimizer']}, {taken.optimizer['lr']:g}"
    name = next(key for key, one in RECIPES.items() if one is taken)
    found = [scale, DEFAULT_BACKBONE[scale], stem(DEFAULT_BACKBONE[scale], px), name, optimizer]
    assert row[1:] == [*found, str(taken.epochs), str(taken.batch_size), taken.views]


def test_the_sets_of_the_table_are_declared_so() -> None:
    named = {name.strip("` "): cells[1] for cells in rows("## Published sets") for name in cells[0].split(",")}
    assert named.keys() == DATASETS.keys() - {"imagefolder", "csv", "wds", "hf", "synthetic"}
    for name, px in named.items():
        spec: DatasetSpec = load(DATASETS, "dataset", name)
        assert spec.image_size == int(px)
