"""What a shell offers for a word that was begun: names from the registries and runs, nothing heavy imported."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import typer


def specs(incomplete: str) -> list[str]:
    """Methods, or behind a plus sign the regularizers."""
    from dsabench.methods import METHODS
    from dsabench.regularizers import REGULARIZERS

    method, plus, begun = incomplete.rpartition("+")
    return [f"{method}{plus}{name}" for name in begins(begun, REGULARIZERS if plus else METHODS)]


def datasets(incomplete: str) -> list[str]:
    """Data sets."""
    from dsabench.data import DATASETS

    return begins(incomplete, DATASETS)


def backbones(incomplete: str) -> list[str]:
    """The backbones with a name here; those of timm alone are too many, and slow to ask for."""
    from dsabench.backbones import BACKBONES

    return begins(incomplete, BACKBONES)


def evaluators(incomplete: str) -> list[str]:
    """Probes and metrics, and the word for the core metrics."""
    from dsabench.evaluators import CROWDING
    from dsabench.metrics import METRICS
    from dsabench.probes import PROBES

    return begins(incomplete, [*PROBES, CROWDING, *METRICS])


def runs(context: typer.Context, incomplete: str) -> list[str]:
    """The ids of the runs in the store that the command names."""
    store = Path(context.params.get("runs") or os.environ.get("DSABENCH_RUNS") or "runs")
    return begins(incomplete, run_ids(store))


def things(context: typer.Context, incomplete: str) -> list[str]:
    """Whatever `show` shows: runs, and every name of a registry."""
    return [*begins(incomplete, all_names()), *runs(context, incomplete)]


def all_names() -> list[str]:
    """The names of all registries."""
    from dsabench.backbones import BACKBONES
    from dsabench.data import DATASETS
    from dsabench.methods import METHODS
    from dsabench.metrics import METRICS
    from dsabench.probes import PROBES
    from dsabench.regularizers import REGULARIZERS

    return [*METHODS, *REGULARIZERS, *PROBES, *METRICS, *DATASETS, *BACKBONES]


def run_ids(store: Path) -> Iterator[str]:
    """The ids that the folders of a store bear."""
    return (path.parent.name.rpartition("-")[2] for path in sorted(store.glob("*/*/*/run.json")))


def begins(incomplete: str, names: Iterable[str]) -> list[str]:
    """The names that begin so."""
    return [name for name in names if name.startswith(incomplete)]
