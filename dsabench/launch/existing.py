"""What exists, to be compared: the runs of stores and the rows of tables. Nothing is trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsabench.config.eval_config import EvalConfig
from dsabench.config.source import Source
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.errors import DataError, UsageError
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.encoders import source_encoders
from dsabench.evaluation.evaluate import evaluate
from dsabench.launch.work import failed_row
from dsabench.signals import Stop
from dsabench.tables.rows import Row, read_csv
from dsabench.tables.where import accepts
from dsabench.training.inventory import described
from dsabench.training.run import Run, say
from dsabench.training.store import Store


@dataclass
class Existing:
    """Rows by the source they came from, and what was evaluated here, by the run's id and the data's hash."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    encoders: dict[tuple[str, str], Encoder] = field(default_factory=dict)

    def add(self, source: str, encoder: Encoder, what: EvalConfig, datasets: Datasets, stop: Stop) -> None:
        """Evaluate an encoder and take its rows in."""
        rows = evaluate(encoder, what, datasets, stop=stop)
        self.rows.setdefault(source, []).extend(rows)
        self.encoders |= {(row.run_id, row.dataset_sha256): encoder for row in rows[:1]}

    def add_models(
        self, sources: Sequence[Source], what: EvalConfig, datasets: Datasets, stop: Stop, runs: Path
    ) -> None:
        """Evaluate models and embeddings; what is computed of them is kept under the store `runs`."""
        for encoder in source_encoders(sources, datasets, data=what.data, store=runs):
            self.add(encoder.name, encoder, what, datasets, stop)

    def encoders_of(self, arms: Mapping[str, Sequence[Row]]) -> dict[tuple[str, int], Encoder]:
        """The encoders of arms on one data set, by arm and seed; a row of a table has none."""
        return {
            (arm, row.seed): self.encoders[row.run_id, row.dataset_sha256]
            for arm, rows in arms.items()
            for row in rows
            if (row.run_id, row.dataset_sha256) in self.encoders
        }


@dataclass(frozen=True)
class Choice:
    """Which runs are meant: those that `allowed` accepts, of one of `specs` where there are any."""

    allowed: Mapping[str, Sequence[str]]
    specs: Collection[str] = ()

    def takes(self, facts: Mapping[str, object]) -> bool:
        return accepts(self.allowed, facts) and (not self.specs or str(facts["spec"]) in self.specs)


def chosen(allowed: Mapping[str, Sequence[str]], specs: Iterable[str]) -> Choice:
    """The choice of runs; a name that is no spec, as that of an encoder, selects no run."""
    texts = set()
    for text in specs:
        try:
            texts |= {text, str(parse_spec(text.partition(" (")[0]))}
        except UsageError:
            continue
    return Choice(allowed, texts)


def gather(
    sources: Sequence[Path],
    choice: Choice,
    what: EvalConfig,
    datasets: Datasets,
    stop: Stop,
    data_dir: Path | None = None,
) -> Existing:
    """The rows of sources, a store each or a table that ends in `.csv`; runs are evaluated where they are not yet.

    Runs that have not ended are named and left out. Raises DataError for a source that is not there.
    """
    found = Existing()
    for source in dict.fromkeys(sources):
        if source.suffix == ".csv":
            found.rows[str(source)] = [row for row in read_csv(source) if is_asked(row, what) and _taken(choice, row)]
        elif source.is_dir():
            add_store(found, Store(source), choice, what, datasets, stop, data_dir)
        else:
            raise DataError(f"no run store and no table {source}; see: dsabench list runs --runs FOLDER")
    return found


def _taken(choice: Choice, row: Row) -> bool:
    return choice.takes({**{key: getattr(row, key) for key in choice.allowed}, "spec": row.spec})


def is_asked(row: Row, what: EvalConfig) -> bool:
    """Whether a row of a table is of the split and one of the layers; a failed run is of all of them."""
    return row.status == "failed" or (row.split == what.split and row.layer in map(str, what.layers))


def add_store(
    found: Existing,
    store: Store,
    choice: Choice,
    what: EvalConfig,
    datasets: Datasets,
    stop: Stop,
    data_dir: Path | None,
) -> None:
    """Take in the rows of the runs of a store that are meant."""
    for run in store.runs():
        facts = described(run)
        if not choice.takes(facts):
            continue
        if facts["status"] == "failed":
            note = str(run.state.get("error") or "")
            found.rows.setdefault(str(store.path), []).append(failed_row(run, what, note, ""))
        elif facts["status"] == "finished":
            # Where other data are named, the folder is theirs.
            encoder = run_encoder(moved(run, None if what.data else data_dir), datasets)
            found.add(str(store.path), encoder, what, datasets, stop)
        else:
            say(f"left out: {run.config.label} ({facts['status']}), {run.folder}")


def moved(run: Run, data_dir: Path | None) -> Run:
    """The run with its images where they lie now; None leaves them where they lay."""
    if data_dir is None:
        return run
    data = run.config.data.model_copy(update={"folder": str(data_dir.resolve())})
    return run.asked_as(run.config.model_copy(update={"data": data}))
