"""Frozen features: extracted once per encoder, data, layer and split, and kept under a hash (`feature_files`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from dsabench.adjuster import Adjuster
from dsabench.config.eval_config import ADJUST, PIXELS, POSTHOC
from dsabench.config.spec import Part
from dsabench.data.dataset import Dataset, Split
from dsabench.data.loader import image_batches, reading_workers
from dsabench.errors import UsageError
from dsabench.evaluation.embeddings import Embeddings
from dsabench.evaluation.encoder import Encoder
from dsabench.evaluation.feature_files import is_whole, keep, mapped
from dsabench.evaluation.posthoc import adjuster_of, changed, inner
from dsabench.evaluation.preprocessing import of_crops, prepared_batches, trained_on
from dsabench.files import canonical_json, sha256_bytes
from dsabench.rng import numpy_generator
from dsabench.training.adjust import view_features
from dsabench.training.ranks import Ranks
from dsabench.types import Features

BATCH_SIZE = 512

# What to ask for instead where there are no views.
NO_VIEWS = "adjust[by=neighbours] goes without"


class FeatureStore:
    """The features of one encoder on one data set; its weights are read when a layer is not stored yet."""

    def __init__(self, encoder: Encoder, dataset: Dataset, device: torch.device, precision: str = "fp32") -> None:
        self.encoder, self.dataset, self.device, self.precision = encoder, dataset, device, precision
        self._known: dict[tuple[str, str], Features] = {}
        self.adjusters: dict[str, Adjuster] = {}

    def get(self, layer: Part, split_name: str) -> Features:
        """Features of a layer on a split: from the folder of the encoder, or extracted and stored.

        Raises UsageError for a layer that the encoder does not have.
        """
        key = str(layer), split_name
        if key not in self._known:
            self._known[key] = self._found(layer, split_name)
        return self._known[key]

    def identity(self, layer: Part, split_name: str) -> str:
        """The hash of what decides the features of a layer on a split."""
        facts = {
            "weights": self.encoder.weights_sha256,
            "data": self.dataset.sha256,
            "layer": spelled(layer),
            "split": split_name,
            "preprocess": self.encoder.preprocess.facts() if self.encoder.preprocess else {},
            "precision": self.precision,
        }
        if self.encoder.pooling != "model":
            facts["pooling"] = self.encoder.pooling
        return sha256_bytes(canonical_json(facts).encode())

    def extract_together(self, layer: Part, split_name: str, ranks: Ranks) -> None:
        """Store a layer on a split by several processes, every sample by one of them and the bytes those of one.

        Each writes the features of its batches to a file of its own, and the writer joins them. What is not stored, or
        is made of what is, stays for whoever wants it.
        """
        path, split = self.path(layer, split_name), getattr(self.dataset, split_name)
        if path is None or layer.name in (PIXELS, *POSTHOC):
            return
        if ranks.by_writer(lambda: is_whole(path)):
            return
        parts = [path.with_suffix(f".part{rank}") for rank in range(ranks.world_size)]
        own = list(self._extracted(layer.name, split, ranks.rank, ranks.world_size))
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({str(number): rows for number, rows in enumerate(own)}, parts[ranks.rank])
        ranks.wait()

        def join() -> None:
            stored = (load_file(part) for part in parts)
            rows = (batches[str(number)] for batches in stored for number in range(len(batches)))
            keep(path, rows, split)
            for part in parts:
                part.unlink()

        ranks.by_writer(join)

    def _found(self, layer: Part, split_name: str) -> Features:
        split: Split = getattr(self.dataset, split_name)
        if layer.name in POSTHOC:
            return posthoc(self, layer, self.get(inner(layer), split_name), split_name == "train")
        path = self.path(layer, split_name)
        if layer.name == PIXELS or path is None:
            return self.of(layer, split)
        if layer.name not in self.encoder.layer_names:
            self.encoder.module(layer.name)
        if not is_whole(path):
            # Not stored yet, or damaged: features are derived, so they are simply made again.
            keep(path, self._extracted(layer.name, split), split)
        return mapped(path, split)

    def get_all(self, layers: Sequence[str], split_name: str) -> None:
        """Have these layers of the model on a split at hand, those that are not stored from one forward pass.

        They are in memory together, until all are written.
        """
        split: Split = getattr(self.dataset, split_name)
        paths = {layer: self.path(Part(layer), split_name) for layer in layers}
        wanted = [layer for layer, path in paths.items() if path is None or not is_whole(path)]
        rows: dict[str, list[Tensor]] = {layer: [] for layer in wanted}
        if wanted:
            for images in self._prepared(split):
                with self._precise():
                    found = self.encoder.all_features(wanted, images, self.device)
                for layer, batch in found.items():
                    rows[layer].append(batch)
        for layer, batches in rows.items():
            path = paths[layer]
            if path is None:
                self._known[layer, split_name] = Features(torch.cat(batches), split.labels)
            else:
                keep(path, batches, split)

    def path(self, layer: Part, split_name: str) -> Path | None:
        """Where the features of a layer on a split are kept; None where they are not."""
        if self.encoder.folder is None:
            return None
        return self.encoder.folder / f"{layer}-{split_name}-{self.identity(layer, split_name)[:16]}.safetensors"

    def of(self, layer: Part, split: Split) -> Features:
        """Features of a layer of any images, such as are no split of the data set: computed, and not stored."""
        if layer.name == PIXELS:
            return Features(self._pixels(split), split.labels)
        if layer.name in POSTHOC:
            return posthoc(self, layer, self.of(inner(layer), split))
        return Features(torch.cat(list(self._extracted(layer.name, split))), split.labels)

    def views(self, layer: Part) -> tuple[Tensor, Tensor]:
        """Features (M, D) of a layer of two views each of training images, as the encoder was trained on, else crops.

        Raises UsageError where views cannot be drawn or shown to the layer.
        """
        preprocess = self.encoder.preprocess
        assert preprocess is not None, "an encoder of images says what it wants of them"
        if layer.name in (PIXELS, *POSTHOC):
            raise UsageError(f"views are shown to a model, and the layer {layer} is none of its; {NO_VIEWS}")
        try:
            dataset = trained_on(self.dataset, preprocess, self.dataset.train)
        except ValueError as error:
            raise UsageError(f"{error}; {NO_VIEWS}") from error
        policy = self.encoder.views or of_crops(dataset)
        with self._precise():
            return view_features(
                lambda images: self.encoder.features(layer.name, images, self.device),
                dataset,
                policy,
                self.encoder.seed,
                self.device,
            )

    def _extracted(self, layer: str, split: Split, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """Features (B, D) float32 of a split, in order; each of several ranks has its share of the batches."""
        for images in self._prepared(split, rank, world_size):
            with self._precise():
                yield self.encoder.features(layer, images, self.device)

    def _prepared(self, split: Split, rank: int = 0, world_size: int = 1) -> Iterator[Tensor]:
        """The images of a split as the encoder wants them."""
        preprocess = self.encoder.preprocess
        assert preprocess is not None, "an encoder of images says what it wants of them"
        return prepared_batches(
            split, preprocess, batch_size=BATCH_SIZE, device=self.device, rank=rank, world_size=world_size
        )

    def _precise(self) -> torch.autocast:
        """A context in which the forward pass is as precise as was asked for."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.precision == "bf16")

    def _pixels(self, split: Split) -> Tensor:
        mean, std = (torch.tensor(values).view(-1, 1, 1) for values in (self.dataset.mean, self.dataset.std))
        workers = reading_workers(split)
        batches = image_batches(
            split, self.dataset.mean, self.dataset.std, batch_size=BATCH_SIZE, device="cpu", workers=workers
        )
        return torch.cat([(images * std + mean).flatten(1) for images in batches])


class EmbeddingStore:
    """The features of an encoder that has embeddings and no model."""

    def __init__(self, encoder: Encoder, embeddings: Embeddings) -> None:
        self.encoder, self.embeddings = encoder, embeddings
        self.adjusters: dict[str, Adjuster] = {}

    def get(self, layer: Part, split_name: str) -> Features:
        """The embeddings of a split, or these changed post hoc; raises UsageError for any other layer."""
        if layer.name in POSTHOC:
            return posthoc(self, layer, self.get(inner(layer), split_name), split_name == "train")
        if layer.name not in self.encoder.layer_names:
            known = ", ".join((*self.encoder.layer_names, *POSTHOC))
            raise UsageError(f"{self.encoder.name} has no layer {layer.name!r}; embeddings have {known}")
        return self.embeddings.splits[split_name]

    def views(self, layer: Part) -> tuple[Tensor, Tensor]:
        """Embeddings have no views: raises UsageError."""
        raise UsageError(f"{self.encoder.name} has embeddings, of which no views can be drawn; {NO_VIEWS}")

    def identity(self, layer: Part, split_name: str) -> str:
        """The hash of what decides the features of a layer on a split."""
        facts = {"embeddings": self.encoder.weights_sha256, "layer": spelled(layer), "split": split_name}
        return sha256_bytes(canonical_json(facts).encode())


def spelled(layer: Part) -> str:
    """A layer with its options, said or not: what they are where nothing is said may change."""
    return str(Part(layer.name, {**POSTHOC.get(layer.name, {}), **layer.options}))


def posthoc(store: FeatureStore | EmbeddingStore, layer: Part, features: Features, training: bool = False) -> Features:
    """A post-hoc layer, such as `smooth[...]`, of `features` of its inner one: the `training` ones, or others."""
    train = features if training else store.get(inner(layer), "train")
    if layer.name != ADJUST:
        return changed(layer, features, None if training else train)
    if str(layer) not in store.adjusters:
        store.adjusters[str(layer)] = adjuster_of(layer, train, lambda: store.views(inner(layer)))
    return Features(store.adjusters[str(layer)](features.x.float()), features.y)


def splits(store: FeatureStore | EmbeddingStore, layer: Part, split: str) -> tuple[Features, Features, Features]:
    """What to fit on, to choose on and to score on.

    On the validation split a probe chooses on a tenth of the training features: what it is scored on stays unseen.
    """
    train = store.get(layer, "train")
    if split == "test":
        return train, store.get(layer, "val"), store.get(layer, "test")
    chosen, fitted = choosing(len(train.y))
    return take(train, fitted), take(train, chosen), store.get(layer, "val")


def choosing(n: int) -> tuple[Tensor, Tensor]:
    """Positions of a tenth of `n` training samples to choose on where the validation split is scored, and the rest."""
    order = torch.from_numpy(numpy_generator("choose", "val").permutation(n))
    return order[: n // 10], order[n // 10 :]


def take(features: Features, index: Tensor) -> Features:
    """The samples at `index` (M,)."""
    return Features(features.x[index], features.y[index])
