"""The rows of a store without a table: what was compared there last, evaluated again from its stored features."""

from __future__ import annotations

from dsabench.config.eval_config import EvalConfig
from dsabench.config.spec import parse_part
from dsabench.data import Datasets
from dsabench.errors import NothingToCompare
from dsabench.evaluation.encoder import run_encoder
from dsabench.evaluation.evaluate import evaluate
from dsabench.evaluation.words import CORE
from dsabench.files import canonical_json
from dsabench.report.page.material import Material, anchor
from dsabench.signals import Stop
from dsabench.tables.criteria import Criteria
from dsabench.tables.declaration import Declaration, read_declarations
from dsabench.tables.rows import Row
from dsabench.training.run import Run
from dsabench.training.store import Store


def newest_material(store: Store, datasets: Datasets, criteria: Criteria) -> Material:
    """The runs of the newest declaration beside them, or without one all finished runs of the newest one's data.

    Raises NothingToCompare for a store without finished runs.
    """
    finished = [run for run in store.runs() if run.state["status"] == "finished"]
    if not finished:
        raise NothingToCompare(f"no finished run in {store.path}; train some with: dsabench compare")
    declared = max(read_declarations(store.path), key=lambda one: one.utc, default=None)
    chosen = [run for run in finished if declared is None or _belongs(run, declared)]
    if declared is not None and chosen:
        order = {spec: place for place, spec in enumerate(declared.specs)}
        chosen.sort(key=lambda run: (order[str(run.config.spec)], run.config.seed))
    else:
        chosen = [run for run in finished if run.config.data.identity() == finished[-1].config.data.identity()]
    layer, split = (declared.layer, declared.split) if declared else ("backbone", "test")
    config = EvalConfig(probes=CORE, layers=(parse_part(layer),), split=split).also(*criteria.probes)
    stop = Stop()
    rows: list[Row] = []
    for run in chosen:
        rows += evaluate(run_encoder(run, datasets), config, datasets, stop=stop)
    title = chosen[0].config.data.label
    return Material(anchor(title), title, "results/NAME.csv", tuple(rows), criteria)


def _belongs(run: Run, declared: Declaration) -> bool:
    config, setting = run.config, declared.setting
    own_epochs = "epochs" in config.spec.method.options
    return (
        str(config.spec) in declared.specs
        and config.seed in declared.seeds
        and canonical_json(config.data.identity()) == setting["data"]
        and config.backbone == setting["backbone"]
        and (own_epochs or config.epochs == setting["epochs"])
    )
