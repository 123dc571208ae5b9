"""The runs behind the rows of a table: their logs, features, answers and checkpoints. Nothing is trained."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from statistics import fmean

from dsabench.config.eval_config import EvalConfig
from dsabench.config.spec import parse_part
from dsabench.data import Datasets
from dsabench.errors import DataError, DsabenchError
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import Evaluation, LayerEvaluation
from dsabench.evaluation.projection import Kind
from dsabench.report.figures.learning import Curve, Curves, curves
from dsabench.report.page.blocks import Absent, Block, Drawing, Words
from dsabench.report.page.material import Material, anchor, runs_of
from dsabench.tables.declaration import declaration_of, deviations, held_by
from dsabench.training.run import Run
from dsabench.training.store import Store

# Columns of the log that are no curves: positions, costs, and quantiles that other columns sum up.
_NO_CURVES = ("epoch", "lr", "wall_s", "images_per_s", "dsa_k", "dsa_excess", "dsa_prior_nonfinite")
_NAMES: Mapping[str, str] = {
    "loss": "loss (all terms)",
    "ssl": "loss of the method",
    "similar_precision": "similar pairs that share a class, share",
    "dsa_similar": "pairs taken for similar, share",
    "dsa_adjust": "DSA: adjustment term, weighted",
    "dsa_spread": "DSA: evening out the features, weighted",
    "dsa_separate": "DSA: separation term, weighted",
    "dsa_pulled": "neighbours that an image is drawn to, mean",
    "dsa_trust": "trust in an image's neighbours, mean",
    "dsa_prior": "DSA: distance of M from the prior",
    "dsa_score_mean": "good-neighbour score, mean",
}
# Points of a curve: more than these cannot be told apart on a page.
_POINTS = 150


@dataclass(frozen=True, eq=False)
class Stored:
    """A table's `material` with the `store` of its runs; sections on single pairs show the first `n_pairs` of them."""

    material: Material
    store: Store
    datasets: Datasets
    n_pairs: int = 3
    kind: Kind = "tsne"

    @cached_property
    def runs(self) -> dict[tuple[str, int], Run]:
        """The finished runs of the rows, by arm and seed; those that are not in the store are left out."""
        known = {name: run for run in self.store.runs(warn=False) for name in run.ids}
        wanted = runs_of([row for row in self.material.rows if row.status != "failed"])
        found = {key: known[run_id] for key, run_id in wanted.items() if run_id in known}
        return {key: run for key, run in found.items() if run.state["status"] == "finished"}

    @cached_property
    def pairs(self) -> list[tuple[str, str]]:
        """The pairs that are shown one by one: the first that have runs with one seed."""
        return [pair for pair in self.material.pairs if self.paired_seeds(*pair)][: self.n_pairs]

    @property
    def left_out(self) -> tuple[Block, ...]:
        """A line on the pairs that are not shown."""
        n_more = sum(bool(self.paired_seeds(*pair)) for pair in self.material.pairs) - len(self.pairs)
        if n_more <= 0:
            return ()
        return (Words(f"The first {len(self.pairs)} pairs of arms are shown, {n_more} are not: --pairs shows more."),)

    def paired_seeds(self, spec: str, against: str) -> list[int]:
        """The seeds that both arms have a finished run of."""
        return [seed for seed in self.material.seeds if {(spec, seed), (against, seed)} <= self.runs.keys()]

    def layer(self, spec: str, seed: int) -> LayerEvaluation:
        """The evaluation of a run on the table's layer and split, from what is stored."""
        key = spec, seed
        if key not in self._layers:
            split = next((row.split for row in self.material.rows if row.split), "test")
            what = EvalConfig(probes=("knn",), layers=(parse_part(self.material.layer),), split=split)
            (self._layers[key],) = Evaluation(run_encoder(self.runs[key], self.datasets), what, self.datasets).layers()
            self._check(spec, self._layers[key])
        return self._layers[key]

    @cached_property
    def _layers(self) -> dict[tuple[str, int], LayerEvaluation]:
        return {}

    def _check(self, spec: str, layer: LayerEvaluation) -> None:
        scored = {row.dataset_sha256 for row in self.material.rows if row.spec == spec and row.dataset_sha256}
        if scored and layer.evaluation.data_sha256 not in scored:
            raise DataError(f"the rows of {spec} were scored on other data than its runs were trained on")

    @cached_property
    def deviations(self) -> list[str]:
        """How the comparison departs from what was declared beside the runs, in words."""
        configs = [run.config for run in self.runs.values()]
        if not configs:
            return ["none of these runs is in the store, so what was declared is not known"]
        first = next(iter(self.material.rows))
        what = EvalConfig(probes=("knn",), layers=(parse_part(self.material.layer),), split=first.split or "test")
        now = declaration_of(configs, self.material.seeds, self.material.criteria, what)
        held = held_by(self.store.path, now)
        return ["nothing was declared beside these runs"] if held is None else deviations(held, now, len(configs))


def stored_sections(stored: Stored) -> dict[str, tuple[Block, ...]]:
    """The blocks of every section that needs the runs; one that fails says why, and the others stand."""
    from dsabench.report.page.shown import changed_sides, class_matrices, maps, similar_images

    makers: Mapping[str, Callable[[Stored], tuple[Block, ...]]] = {
        "curves": learning_curves,
        "classes": class_matrices,
        "maps": maps,
        "similar": similar_images,
        "changed": changed_sides,
    }
    made: dict[str, tuple[Block, ...]] = {}
    for key, make in makers.items():
        if not stored.runs:
            made[key] = (Absent(f"none of the runs behind these rows is in {stored.store.path}."),)
            continue
        try:
            made[key] = make(stored)
        except (DsabenchError, ValueError) as error:
            made[key] = (Absent(f"{error}."),)
    return made


def learning_curves(stored: Stored) -> tuple[Block, ...]:
    """Every logged value of the arms of the shown pairs, over epochs and over seconds."""
    arms = list(dict.fromkeys(arm for spec, against in stored.pairs for arm in (against, spec)))
    arms = arms or list(dict.fromkeys(spec for spec, _ in stored.runs))[: 2 * stored.n_pairs]
    logs = {arm: [read_log(run) for (spec, _), run in stored.runs.items() if spec == arm] for arm in arms}
    names = dict.fromkeys(name for log in logs.values() for seed in log for line in seed for name in line)
    drawings = []
    for column in names:
        if column in _NO_CURVES or "_score_q" in column:
            continue
        found = (curve_of(stored.material.names[arm], column, logs[arm]) for arm in arms)
        lines = tuple(line for line in found if line is not None)
        if lines:
            content = Curves(_NAMES.get(column, column.replace("_", " ")), lines)
            told = "; ".join(f"{line.spec} from {line.mean[0]:.3g} to {line.mean[-1]:.3g}" for line in lines)
            drawings.append(
                Drawing(
                    f"{stored.material.name}-curve-{anchor(column)}",
                    partial(curves, content),
                    f"Learning curves of {content.name}, over epochs and over seconds: {told}.",
                    f"{content.name}: mean over seeds, the band from the least to the most.",
                )
            )
    if not drawings:
        return (Absent("these runs have no log.csv."),)
    return (*drawings, *stored.left_out)


def read_log(run: Run) -> list[dict[str, float]]:
    """The lines of a run's log by column, empty cells left out; none where it cannot be read."""
    try:
        with (run.folder / "log.csv").open(encoding="utf-8", newline="") as file:
            return [{name: float(cell) for name, cell in line.items() if cell} for line in csv.DictReader(file)]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError, ValueError):
        return []


def curve_of(spec: str, column: str, logs: list[list[dict[str, float]]]) -> Curve | None:
    """An arm's curve of one column, over the epochs that every seed has a value at; None where there is none."""
    seeds = [{line["epoch"]: line for line in log if column in line and "epoch" in line} for log in logs if log]
    if not seeds:
        return None
    epochs = sorted(set.intersection(*(set(seed) for seed in seeds)))
    if not epochs:
        return None
    step = max(1, -(-len(epochs) // _POINTS))
    # The last point is always there.
    chosen = epochs[::-step][::-1]
    values = [[seed[epoch][column] for seed in seeds] for epoch in chosen]
    return Curve(
        spec,
        tuple(chosen),
        tuple(fmean(seed[epoch].get("wall_s", epoch) for seed in seeds) for epoch in chosen),
        tuple(map(fmean, values)),
        tuple(map(min, values)),
        tuple(map(max, values)),
    )
