"""Features in two dimensions, for the eye: neighbour embeddings, discriminant directions, and their alignment."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from dsabench.errors import UsageError
from dsabench.rng import seed_of
from dsabench.types import Features

Array = np.ndarray[Any, Any]
Kind = Literal["tsne", "umap"]


def neighbour_map(x: Array, kind: Kind, *, seed: int) -> Array:
    """Features `x` (N, D) as points (N, 2) by t-SNE (van der Maaten and Hinton 2008) or UMAP (arXiv 1802.03426).

    Raises ValueError for fewer than 4 samples, UsageError where UMAP is not installed.
    """
    if len(x) < 4:
        raise ValueError(f"a map needs at least 4 images; got {len(x)}")
    state = seed_of(seed, "map", kind) % 2**32
    if kind == "umap":
        try:
            from umap import UMAP
        except ImportError as error:
            raise UsageError("a map by UMAP needs the extra: pip install 'dsabench[umap]'") from error
        points = UMAP(n_neighbors=min(15, len(x) - 1), random_state=state, n_jobs=1).fit_transform(x)
    else:
        from sklearn.manifold import TSNE

        perplexity = min(30.0, (len(x) - 1) / 3)
        points = TSNE(perplexity=perplexity, init="pca", random_state=state).fit_transform(x)
    return np.asarray(points, dtype=np.float64)


def discriminant_plane(train: Features, test: Features) -> Array:
    """Test features (N, D) on the two directions that part the classes of the training features best, (N, 2).

    Fisher's linear discriminants with the shrinkage of Ledoit and Wolf. With two classes the second is 0. Raises
    ValueError for one class.
    """
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

    model = LinearDiscriminantAnalysis(n_components=None, solver="eigen", shrinkage="auto")
    fitted = model.fit(train.x.numpy().astype(np.float64), train.y.numpy())
    points = fitted.transform(test.x.numpy().astype(np.float64))[:, :2]
    return np.pad(points, ((0, 0), (0, 2 - points.shape[1])))


def aligned(points: Array, reference: Array) -> Array:
    """`points` (N, 2), turned, mirrored, moved and scaled as a whole to lie on `reference` (N, 2): Procrustes.

    Neither distances within a map nor its shape change, so that the eye compares what has moved. Both are centred; the
    scale makes the sizes of both maps equal.
    """
    from scipy.linalg import orthogonal_procrustes

    mine, other = points - points.mean(axis=0), reference - reference.mean(axis=0)
    rotation, _ = orthogonal_procrustes(mine, other)
    size = float(np.linalg.norm(mine))
    turned: Array = mine @ rotation * (np.linalg.norm(other) / size if size else 1.0)
    return turned
