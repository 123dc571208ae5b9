"""The flags that name models and embeddings of the user's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from dsabench.cli.flags import SOURCES, option

if TYPE_CHECKING:
    from dsabench.config.source import Source


@dataclass(frozen=True)
class Sources:
    """Models and embeddings that no run here made: each flag repeatable, `VALUE` for all or `NAME=VALUE` for one."""

    timm: Annotated[
        list[str] | None,
        option(SOURCES, "A trained model of timm, hf-hub:ID or local-dir:FOLDER.", "--timm", metavar="[NAME=]MODEL"),
    ] = None
    checkpoint: Annotated[
        list[str] | None,
        option(SOURCES, "Weights: safetensors or PyTorch, any wrapper.", "--checkpoint", metavar="[NAME=]FILE"),
    ] = None
    features: Annotated[
        list[str] | None,
        option(
            SOURCES, "Embeddings: npz, safetensors, parquet or a folder of npy.", "--features", metavar="[NAME=]FILE"
        ),
    ] = None
    preprocess: Annotated[
        list[str] | None,
        option(
            SOURCES,
            "What images are brought to: imagenet, with options in brackets as image_size=224, or JSON.",
            "--preprocess",
            metavar="[NAME=]PRESET",
            show_default="the model's own",
        ),
    ] = None
    pooling: Annotated[
        list[str] | None,
        option(SOURCES, "model, cls, mean or cls+mean.", "--pooling", metavar="[NAME=]HOW", show_default="model"),
    ] = None
    weights: Annotated[
        list[str] | None,
        option(SOURCES, "Which weights of a checkpoint, where several fit.", "--weights", metavar="[NAME=]PREFIX"),
    ] = None
    labels: Annotated[
        list[str] | None,
        option(SOURCES, "Labels of embeddings by file name.", "--labels", metavar="[NAME=]FILE.csv"),
    ] = None

    def parsed(self, backbone: Sequence[str] = ()) -> tuple[Source, ...]:
        """The checked sources, of checkpoints with these architectures (`--backbone`); raises UsageError or DataError
        before anything heavy is imported."""
        from dsabench.config.source import parse_sources

        return parse_sources(
            timm=self.timm or (),
            checkpoint=self.checkpoint or (),
            features=self.features or (),
            backbone=backbone,
            preprocess=self.preprocess or (),
            pooling=self.pooling or (),
            weights=self.weights or (),
            labels=self.labels or (),
        )
