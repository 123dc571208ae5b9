"""The sections that show pairs of arms image by image: class matrices, maps, similar pairs, changed sides."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from dsabench.config.spec import Part
from dsabench.data.dataset import Dataset, Split
from dsabench.evaluation.changes import changed, most_changed, neighbours
from dsabench.evaluation.classes import ByClass, by_class, pictured
from dsabench.evaluation.evaluate import LayerEvaluation
from dsabench.evaluation.projection import aligned, discriminant_plane, neighbour_map
from dsabench.evaluation.similar import SimilarPairs, similar_pairs
from dsabench.evaluation.words import resolved
from dsabench.report.figures.matrices import Matrix, matrix
from dsabench.report.figures.pictures import Shot, pictures
from dsabench.report.figures.planes import Plane, planes
from dsabench.report.page.blocks import Absent, Block, Drawing, Words
from dsabench.report.page.material import anchor
from dsabench.report.page.stored import Stored
from dsabench.report.wording import counted
from dsabench.rng import numpy_generator

Array = np.ndarray[Any, Any]
# Test images on a map: more of them take minutes and hide each other.
MOST_POINTS = 2000
# Similar pairs of each kind, images that changed sides of each kind, neighbours of one.
SHOWN_PAIRS, SHOWN_IMAGES, NEIGHBOURS = 6, 3, 3


def class_matrices(stored: Stored) -> tuple[Block, ...]:
    """Who crowds whom: the CDNV of every two classes, and what kNN confuses, before, after and the difference."""
    blocks: list[Block] = []
    for spec, against in stored.pairs:
        name, other = (stored.material.names[arm] for arm in (spec, against))
        seeds = stored.paired_seeds(spec, against)
        arms = {arm: [by_class(stored.layer(arm, seed), worst=0) for seed in seeds] for arm in (against, spec)}
        classes = arms[spec][0].classes
        for quantity, words, axes in (
            ("crowding", "CDNV of two classes", ("class", "class")),
            ("confusion", "answers of kNN, %", ("class", "answer")),
        ):
            blocks.append(Words(f"{words}: {name} against {other}, mean over {counted(len(seeds), 'seed')}"))
            means = [mean_matrix(arms[arm], quantity) for arm in (against, spec)]
            if quantity == "confusion":
                means = [100 * values for values in means]
            for values in means:
                # Right answers would outshine what is asked for.
                np.fill_diagonal(values, np.nan)
            most = float(np.nanmax(np.stack(means), initial=0.0)) or 1.0
            for title, values, signed in (
                (other, means[0], False),
                (name, means[1], False),
                ("difference", means[1] - means[0], True),
            ):
                content = Matrix(title, classes, _rows(values), *axes, signed=signed, most=None if signed else most)
                what = f"{words}, {f'{name} less {other}' if signed else title}"
                blocks.append(
                    Drawing(
                        f"{stored.material.name}-classes-{quantity}-{anchor(what)}",
                        partial(matrix, content),
                        f"Matrix over {len(classes)} classes, {what}; {_peaks(content)}",
                        f"{what}.",
                        small=True,
                    )
                )
    return (*blocks, *stored.left_out) if blocks else (_no_pairs(),)


def mean_matrix(found: list[ByClass], quantity: str) -> Array:
    """The mean (C, C) over seeds."""
    stacked: Array = torch.stack([getattr(one, quantity) for one in found]).mean(dim=0).numpy()
    return stacked


def _rows(values: Array) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in values)


def _peaks(content: Matrix) -> str:
    """The three largest cells, in words."""
    values = np.abs(np.array(content.values))
    order = np.argsort(-np.nan_to_num(values, nan=-1.0), axis=None)
    told, seen = [], set()
    for row, column in zip(*np.unravel_index(order, values.shape), strict=True):
        pair = frozenset((int(row), int(column)))
        if pair in seen or not np.isfinite(values[row, column]):
            continue
        seen.add(pair)
        told.append(f"{content.classes[row]} and {content.classes[column]} {content.values[row][column]:.3g}")
        if len(told) == 3:
            break
    return f"the largest cells: {'; '.join(told)}."


def maps(stored: Stored) -> tuple[Block, ...]:
    """The same test images under both arms, by neighbours and by discriminants, aligned."""
    blocks: list[Block] = []
    for spec, against in stored.pairs:
        name, other = (stored.material.names[arm] for arm in (spec, against))
        seed = stored.paired_seeds(spec, against)[0]
        before, after = (stored.layer(arm, seed) for arm in (against, spec))
        y = before.inputs.test.y.numpy()
        chosen = np.sort(numpy_generator(seed, "map").permutation(len(y))[:MOST_POINTS])
        classes, split = pictured(before).classes, before.evaluation.config.split
        x = [one.inputs.test.x.numpy()[chosen] for one in (before, after)]
        both = {
            stored.kind: [neighbour_map(one, stored.kind, seed=seed) for one in x],
            "discriminants": [discriminant_plane(one.inputs.train, one.inputs.test)[chosen] for one in (before, after)],
        }
        for kind, (first, second) in both.items():
            reference = first - first.mean(axis=0)
            content = Plane(other, reference, y[chosen]), Plane(name, aligned(second, first), y[chosen])
            how = {"tsne": "t-SNE", "umap": "UMAP"}.get(kind, "the two discriminant directions of the training images")
            which = f"{len(chosen)} {split} images of {len(classes)} classes"
            maps_to = "is turned, mirrored and scaled as a whole to lie on the left."
            blocks.append(
                Drawing(
                    f"{stored.material.name}-map-{anchor(spec)}-{anchor(against)}-{kind}",
                    partial(planes, content, classes),
                    f"{which} by {how}, under {other} and under {name}, seed {seed}.",
                    f"By {how}, seed {seed}; the right map {maps_to}",
                )
            )
    return (*blocks, *stored.left_out) if blocks else (_no_pairs(),)


def similar_images(stored: Stored) -> tuple[Block, ...]:
    """Pairs that a regularizer took for similar, right and wrong ones, drawn by seed."""
    blocks: list[Block] = []
    for spec in dict.fromkeys(spec for spec, _ in stored.pairs):
        seed = min(seed for arm, seed in stored.runs if arm == spec)
        run = stored.runs[spec, seed]
        dataset = stored.datasets.load(run.config.data)
        found = similar_pairs(run, dataset)
        if found is None:
            blocks.append(Words(f"{spec} takes no pairs for similar."))
            continue
        if not found.pairs:
            blocks.append(Words(f"{spec} took no pair of its batch for similar at the end of training."))
            continue
        rows, told = _drawn(found, dataset, seed)
        blocks.append(
            Drawing(
                f"{stored.material.name}-similar-{anchor(spec)}",
                partial(pictures, rows),
                f"Pairs of training images that {spec} took for similar (seed {seed}): {told}.",
                f"{spec}, seed {seed}: {told}. Two images beside each other are a pair; drawn at random, not chosen.",
            )
        )
    return (*blocks, *stored.left_out) if blocks else (_no_pairs(),)


def _drawn(found: SimilarPairs, dataset: Dataset, seed: int) -> tuple[list[tuple[str, list[Shot]]], str]:
    """Rows of three pairs, and how many pairs there were of either kind."""
    labels = dataset.train.labels[torch.tensor(found.index)]
    kinds: dict[bool, list[tuple[int, int]]] = {True: [], False: []}
    for i, j in found.pairs:
        kinds[bool(labels[i] == labels[j])].append((i, j))
    rows = []
    for right, pairs in kinds.items():
        order = numpy_generator(seed, "similar pairs", str(right)).permutation(len(pairs))[:SHOWN_PAIRS]
        drawn = [pairs[place] for place in order]
        images = shots_of(dataset.train, [found.index[i] for pair in drawn for i in pair])
        shots = [
            Shot(image, dataset.classes[int(labels[i])] + ("" if right else " (wrong)"), right)
            for image, i in zip(images, (i for pair in drawn for i in pair), strict=True)
        ]
        word = "right: one class" if right else "wrong: two classes"
        for start in range(0, len(shots), 6):
            rows.append((word if start == 0 else "", shots[start : start + 6]))
    n_right, n_all = len(kinds[True]), len(found.pairs)
    told = f"{n_right} of {n_all} similar pairs of a batch of {len(found.index)} images share a class"
    return rows, f"{told} ({100 * n_right / n_all:.0f}%)"


def changed_sides(stored: Stored) -> tuple[Block, ...]:
    """Images whose kNN answer is right under one arm alone, with their nearest training images under both."""
    blocks: list[Block] = []
    for spec, against in stored.pairs:
        name, other = (stored.material.names[arm] for arm in (spec, against))
        seeds = stored.paired_seeds(spec, against)
        right = {arm: [_right(stored.layer(arm, seed)) for seed in seeds] for arm in (spec, against)}
        gained, lost = changed(right[spec], right[against])
        n_seeds = counted(len(seeds), "seed")
        told = (
            f"{gained.sum() / len(seeds):.1f} test images a seed became right under {name} and "
            f"{lost.sum() / len(seeds):.1f} became wrong, against {other} ({n_seeds}, kNN)"
        )
        blocks.append(Words(f"{told}."))
        rows = [
            _changed_row(stored, (spec, against), image, seeds[place], f"{word} in {times} of {n_seeds}")
            for word, moved in (("became right", gained), ("became wrong", lost))
            for image, times, place in most_changed(moved, SHOWN_IMAGES)
        ]
        if rows:
            blocks.append(
                Drawing(
                    f"{stored.material.name}-changed-{anchor(spec)}-{anchor(against)}",
                    partial(pictures, rows),
                    f"Test images that changed sides between {other} and {name}, with their nearest training images: "
                    + "; ".join(words for words, _ in rows if words)
                    + ".",
                    f"Those that changed in the most seeds: an image, its {NEIGHBOURS} nearest training images under "
                    f"{other}, then those under {name}, in the first of these seeds; a broken frame is another class.",
                )
            )
    return (*blocks, *stored.left_out) if blocks else (_no_pairs(),)


def _changed_row(stored: Stored, pair: tuple[str, str], image: int, seed: int, words: str) -> tuple[str, list[Shot]]:
    """An image and its neighbours under the second and the first arm of a pair."""
    spec, against = pair
    layers = [stored.layer(arm, seed) for arm in (against, spec)]
    dataset = pictured(layers[0])
    images: Split = getattr(dataset, layers[0].evaluation.config.split)
    label = int(images.labels[image])
    (own,) = shots_of(images, [image])
    shots = [Shot(own, dataset.classes[label])]
    for layer in layers:
        near = neighbours(layer.inputs.test.x[image], _bank(layer), NEIGHBOURS)
        for shot, place in zip(shots_of(dataset.train, near), near, strict=True):
            other = int(dataset.train.labels[place])
            shots.append(Shot(shot, dataset.classes[other], other == label))
    name = images.paths[image] if images.paths else f"image {image}"
    return f"{name}, {words}; seed {seed}", shots


def _bank(layer: LayerEvaluation) -> Tensor:
    """The features of the whole training split, whichever part of it the probes were fitted on."""
    return layer.evaluation.store.get(layer.layer, "train").x


def _right(layer: LayerEvaluation) -> Array:
    answers = layer.answers(resolved(Part("knn")))
    right: Array = answers.predicted[0][0] == answers.y
    return right


def shots_of(split: Split, places: list[int]) -> list[Array]:
    """Images as (H, W) or (H, W, 3) in [0, 1]."""
    if not places:
        return []
    index = torch.tensor(places)
    raw = split.pixels(index)
    found = raw.permute(0, 2, 3, 1).float().div(255).numpy()
    return [image[..., 0] if image.shape[-1] == 1 else image for image in found]


def _no_pairs() -> Absent:
    return Absent("no two arms that were compared have finished runs with one seed in the store.")
