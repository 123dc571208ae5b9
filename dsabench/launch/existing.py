"""What exists, to be compared: the runs of stores and the rows of tables. Nothing is trained."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dsabench.config.eval_config import EvalConfig
from dsabench.config.source import Source
from dsabench.config.spec import parse_spec
from dsabench.data import Datasets
from dsabench.data.data_config import DataConfig
from dsabench.errors import DataError, DsabenchError, UsageError
from dsabench.evaluation.encoder import Encoder, run_encoder
from dsabench.evaluation.encoders import source_encoders
from dsabench.evaluation.evaluate import evaluate, evaluated_data
from dsabench.launch.work import failed_row
from dsabench.signals import Stop
from dsabench.tables.collecting import collected
from dsabench.tables.grouping import grouped_by_dataset, named
from dsabench.tables.rows import Row, read_csv
from dsabench.tables.where import accepts
from dsabench.training.inventory import described
from dsabench.training.run import Run, say
from dsabench.training.store import Store


@dataclass
class Existing:
    """Rows by the source they came from, and what was evaluated here, by the run's id and the data's hash: the encoder,
    and how many images its probes learned from."""

    rows: dict[str, list[Row]] = field(default_factory=dict)
    encoders: dict[tuple[str, str], Encoder] = field(default_factory=dict)
    learned: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, source: str, encoder: Encoder, what: EvalConfig, datasets: Datasets, stop: Stop) -> None:
        """Evaluate an encoder and take its rows in."""
        rows = evaluate(encoder, what, datasets, stop=stop)
        self.rows.setdefault(source, []).extend(rows)
        self.encoders |= {(row.run_id, row.dataset_sha256): encoder for row in rows[:1]}
        if encoder.embeddings is None:
            images = len(evaluated_data(encoder, what.data, datasets).train)
            self.learned |= {(row.run_id, row.dataset_sha256): images for row in rows[:1]}

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

    def other_images(self, title: str, arms: Mapping[str, Sequence[Row]]) -> list[str]:
        """Of which arms on one data set the probes learn from more or fewer images than the runs did, in words."""
        differing: dict[tuple[int, int], dict[str, None]] = {}
        for arm, rows in arms.items():
            for row in rows:
                learned = self.learned.get((row.run_id, row.dataset_sha256))
                if learned and row.train_images and learned != row.train_images:
                    differing.setdefault((learned, row.train_images), {})[arm] = None
        return [
            f"{', '.join(names)}: probes learn from {learned:,} training images of {title}, the runs had {trained:,}"
            for (learned, trained), names in differing.items()
        ]


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


def specs_in(sources: Sequence[Path], allowed: Mapping[str, Sequence[str]]) -> list[str]:
    """The specs that sources have runs of, among those that are `allowed`, in order of appearance.

    Raises DataError for a source that is not there.
    """
    found: dict[str, None] = {}
    choice = Choice(allowed)
    for source in sources:
        if source.suffix == ".csv":
            found |= dict.fromkeys(row.spec for row in read_csv(source) if _taken(choice, row))
        elif source.is_dir():
            runs = map(described, Store(source).runs(warn=False))
            found |= dict.fromkeys(str(facts["spec"]) for facts in runs if choice.takes(facts))
        else:
            raise _not_there(source)
    return list(found)


def table_arms(source: Path, allowed: Mapping[str, Sequence[str]], what: EvalConfig) -> dict[str, dict[str, list[Row]]]:
    """The arms of a table by data set, all that `allowed` accepts; none where they cannot stand beside each other."""
    choice = Choice(allowed)
    rows = [row for row in read_csv(source) if is_asked(row, what) and _taken(choice, row)]
    try:
        return grouped_by_dataset(named(collected({str(source): rows}, ())))
    except DsabenchError:
        return {}


def gather(
    sources: Sequence[Path],
    choice: Choice,
    what: EvalConfig,
    datasets: Datasets,
    stop: Stop,
    data_dir: Path | None = None,
    *,
    embeddings: Sequence[str] = (),
) -> Existing:
    """The rows of sources, a store each or a table that ends in `.csv`; runs are evaluated where they are not yet.

    Runs that have not ended, or are of another data set than one that was named, are told and left out. `embeddings`
    are names of such that will stand beside the runs, on the same images. Raises DataError for a source that is not
    there, and for runs whose images have another size than those that embeddings are held against.
    """
    found = Existing()
    runs: list[tuple[str, Run]] = []
    for source in dict.fromkeys(sources):
        if source.suffix == ".csv":
            found.rows[str(source)] = [row for row in read_csv(source) if is_asked(row, what) and _taken(choice, row)]
        elif source.is_dir():
            found.rows[str(source)] = []
            runs += [(str(source), run) for run in ended(Store(source), choice, what)]
        else:
            raise _not_there(source)
    if embeddings and what.data is not None:
        check_one_size([run for _, run in runs], what.data, datasets, embeddings)
    for name, run in runs:
        if run.state["status"] == "failed":
            found.rows[name].append(failed_row(run, what, str(run.state.get("error") or ""), ""))
        else:
            # Where other data are named, the folder is theirs.
            found.add(name, run_encoder(moved(run, None if what.data else data_dir), datasets), what, datasets, stop)
    return found


def _not_there(source: Path) -> DataError:
    return DataError(f"no run store and no table {source}; see: dsabench list runs --runs FOLDER")


def _taken(choice: Choice, row: Row) -> bool:
    return choice.takes({**{key: getattr(row, key) for key in choice.allowed}, "spec": row.spec})


def is_asked(row: Row, what: EvalConfig) -> bool:
    """Whether a row of a table is of the split and one of the layers; a failed run is of all of them."""
    return row.status == "failed" or (row.split == what.split and row.layer in map(str, what.layers))


def ended(store: Store, choice: Choice, what: EvalConfig) -> list[Run]:
    """The runs of a store that are meant and have finished or failed; others that are meant are told."""
    runs = []
    for run in store.runs():
        facts, own = described(run), run.config.data
        if not choice.takes(facts):
            continue
        if facts["status"] not in ("finished", "failed"):
            say(f"left out: {run.config.label} ({facts['status']}), {run.folder}")
        elif what.data is not None and _source(own) != _source(what.data) and "dataset" not in choice.allowed:
            say(
                f"left out: {run.config.label} (trained on {own.label}, not on {what.data.label}; "
                f"--where dataset={own.label} evaluates it on {what.data.label}), {run.folder}"
            )
        else:
            runs.append(run)
    return runs


def _source(data: DataConfig) -> tuple[str, str]:
    """Which images these are, as far as their name says: a path may have changed, a set of the Hub has its own name."""
    return data.kind, data.place if data.kind == "hf" else ""


def check_one_size(runs: Sequence[Run], data: DataConfig, datasets: Datasets, embeddings: Sequence[str]) -> None:
    """Raise DataError where runs see the images of a data set at another size than embeddings of it go by."""
    sizes: dict[int, str] = {}
    for run in runs:
        if (size := described(run)["image_size"]) and run.state["status"] == "finished":
            sizes.setdefault(int(str(size)), run.config.label)
    if data.image_size is not None or not sizes:
        return
    theirs, here = max(sizes), datasets.load(data).image_size
    if set(sizes) == {here}:
        return
    told = ", ".join(f"{size} px ({label})" for size, label in sizes.items())
    one = f", or take the runs of one: --where image_size={here if here in sizes else theirs}" if len(sizes) > 1 else ""
    raise DataError(
        f"the runs see {data.label} at {told}, and {', '.join(embeddings)} would stand for it at {here} px; give "
        f"them all one size: --dataset {data.name} --image-size {theirs}{one}; "
        "if the images may differ: --mix dataset_sha256"
    )


def moved(run: Run, data_dir: Path | None) -> Run:
    """The run with its images where they lie now; None leaves them where they lay."""
    if data_dir is None:
        return run
    data = run.config.data.model_copy(update={"folder": str(data_dir.resolve())})
    return run.asked_as(run.config.model_copy(update={"data": data}))
