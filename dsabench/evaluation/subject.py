"""The subject of an evaluation: the encoder and images behind features, for evaluators that want more than those."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch

from dsabench.config.preprocess import Preprocess
from dsabench.config.spec import Part
from dsabench.data.data_config import DataConfig
from dsabench.data.dataset import Dataset, Split
from dsabench.data.subset import subset
from dsabench.evaluation.encoder import Encoder
from dsabench.evaluation.features import FeatureStore, choosing
from dsabench.files import canonical_json, sha256_bytes
from dsabench.signals import Stop
from dsabench.types import Features


@dataclass
class Subject:
    """A `layer` of the encoder of a `store`, scored on `split` of images that `data` names.

    `elsewhere(name)` loads another data set at the encoder's size; `stop` is who may end what takes long.
    """

    store: FeatureStore
    layer: Part
    split: str
    data: DataConfig
    elsewhere: Callable[[str], Dataset]
    stop: Stop = field(default_factory=Stop)
    spent: list[Path] = field(default_factory=list)

    @property
    def encoder(self) -> Encoder:
        return self.store.encoder

    @property
    def dataset(self) -> Dataset:
        return self.store.dataset

    @property
    def device(self) -> torch.device:
        return self.store.device

    @property
    def preprocess(self) -> Preprocess:
        """What the encoder wants of an image."""
        assert self.encoder.preprocess is not None, "an encoder of images says what it wants of them"
        return self.encoder.preprocess

    def features(self, split: Split) -> Features:
        """Features of the layer of any images, computed and not stored."""
        return self.store.of(self.layer, split)

    def at(self, dataset: Dataset) -> FeatureStore:
        """The features of the encoder on another data set."""
        return FeatureStore(self.encoder, dataset, self.device, self.store.precision)

    @contextmanager
    def workplace(self, name: str, facts: Mapping[str, object], *, keep: bool = False) -> Iterator[Path]:
        """A folder for the checkpoints of what takes long: the same for the same facts, until it is `spent`.

        With `keep` it stays. Where nothing of the encoder is kept it is a temporary one.
        """
        if self.encoder.folder is None:
            with tempfile.TemporaryDirectory() as folder:
                yield Path(folder)
            return
        identity = {"features": self.store.identity(self.layer, self.split), **facts}
        place = self.encoder.folder / f"{name}-{sha256_bytes(canonical_json(identity).encode())[:16]}"
        yield place
        if not keep:
            self.spent.append(place)

    def tidy(self) -> None:
        """Remove the folders of what is done and stored."""
        while self.spent:
            shutil.rmtree(self.spent.pop(), ignore_errors=True)

    def images(self) -> tuple[Split, Split, Split]:
        """The images to fit on, to choose on and to score on, as those of the features are."""
        dataset = self.dataset
        if self.split == "test":
            return dataset.train, dataset.val, dataset.test
        chosen, fitted = choosing(len(dataset.train))
        return subset(dataset.train, fitted), subset(dataset.train, chosen), dataset.val
