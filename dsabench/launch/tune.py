"""The search of `dsabench tune`: arms of equal budgets, every trial some ordinary runs of the store."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from dsabench.config.eval_config import EvalConfig
from dsabench.config.options import check_options
from dsabench.config.plan import half_options
from dsabench.config.request import Request
from dsabench.config.run_config import RunConfig
from dsabench.config.spaces import Choice, Dimension, Overrides, as_data, dimensions
from dsabench.config.spec import Part, Spec, format_value, parse_part, parse_spec, parse_value
from dsabench.errors import UsageError, unknown
from dsabench.files import canonical_json, sha256_bytes
from dsabench.launch.jobs import run_all
from dsabench.launch.journal import Journal
from dsabench.launch.proposals import BATCH, distribution, propose, source_of
from dsabench.launch.work import Job, Workshop, validate
from dsabench.metrics import METRICS
from dsabench.probes import PROBES
from dsabench.registry import Scalar
from dsabench.tables.comparisons import key_of
from dsabench.tables.criteria import MetricChoice, parse_primary
from dsabench.tables.rows import Row
from dsabench.tables.trials import Trial
from dsabench.training.store import Store

# Measured of every trial, to see what accuracy is bought with; no search is led by it.
CROWDING = parse_primary("cdnv")

# The complete configuration of a spec and a seed.
Configured = Callable[[Spec, int], RunConfig]


def selected(text: str) -> MetricChoice:
    """What a search may maximise: an accuracy; raises UsageError for anything else."""
    name = parse_part(text).name
    if name in METRICS:
        raise UsageError(
            f"--select {text} is no accuracy: geometry can improve while class information is lost, and a search would "
            "find how; select accuracies such as knn, several of them for their mean"
        )
    if name not in PROBES:
        raise unknown("--select", name, PROBES, "dsabench list probes")
    return parse_primary(text)


@dataclass(frozen=True)
class Budget:
    """What every arm gets: so many trials, each with a run of every seed; the mean of the `chosen` is maximised."""

    trials: int
    seeds: tuple[int, ...]
    chosen: tuple[MetricChoice, ...]

    @property
    def select(self) -> list[str]:
        """The chosen accuracies as words."""
        return [str(one) for one in self.chosen]

    def what(self) -> EvalConfig:
        """What is measured of a run, on the validation split: what is selected by, and beside it the crowding."""
        return EvalConfig(probes=(*dict.fromkeys(one.probe for one in self.chosen), CROWDING.probe), split="val")

    def __str__(self) -> str:
        trials = f"{self.trials} trials" if self.trials > 1 else "1 trial"
        of = f"{len(self.seeds)} seeds" if len(self.seeds) > 1 else "1 seed"
        return f"{trials} of {of} ({', '.join(map(str, self.seeds))}), {' + '.join(self.select)} on val"


@dataclass(frozen=True)
class Arm:
    """One spec that is tuned: what is searched, in numbers, and where its trials are written down."""

    spec: Spec
    space: Mapping[str, Dimension]
    default: dict[str, Scalar]
    journal: Journal

    def propose(self, start: int, count: int, trials: int) -> list[dict[str, Scalar]]:
        """The options of the trials from `start` on, from those before; the same whoever asks and whenever."""
        history = self.journal.history()[:start]
        return propose(str(self.spec), self.space, self.default, history, count, trials)

    def tell(self, trial: Trial) -> None:
        """Write down a trial that is done."""
        self.journal.add(trial, {option: distribution(dimension) for option, dimension in self.space.items()})


def make_arm(config: RunConfig, budget: Budget, overrides: Overrides, store: Store) -> Arm:
    """An arm from the configuration of its defaults; raises UsageError where it has nothing to search."""
    resolved, space, default = config.resolved, {}, {}
    # A name that both have is the method's, as in a spec.
    known: dict[str, dict[str, Scalar]] = {
        "method": {**resolved.optimizer, "views": resolved.views, "epochs": config.epochs, **resolved.method},
        "regularizer": resolved.regularizer,
    }
    for name, dimension in dimensions(config.spec, overrides).items():
        half, _, option = name.partition(".")
        part: Part = getattr(config.spec, half)
        types = half_options(half, part.name)
        for value in dimension.choices if isinstance(dimension, Choice) else (known[half].get(option, ""),):
            check_options(part.name, {option: value}, types)
        value = known[half][option]
        try:
            space[name] = dimension.around(value)
        except ValueError as error:
            raise UsageError(f"cannot search {option} of {part.name}: {error}") from error
        if not space[name].holds(value):
            raise UsageError(
                f"the space of {option} of {part.name}, {space[name]}, leaves out its default {format_value(value)}, "
                "which every search begins with; make it wider with --space"
            )
        default[name] = value
    if not space:
        raise UsageError(
            f"there is nothing to search of {str(config.spec)!r}: it says every option itself, or has none"
        )
    facts = {
        "spec": str(config.spec),
        "arm": {name: value for name, value in config.identity().items() if name != "seed"},
        "space": {name: as_data(dimension) for name, dimension in space.items()},
        "trials": budget.trials,
        "seeds": list(budget.seeds),
        "select": budget.select,
    }
    name = sha256_bytes(canonical_json(facts).encode())[:12]
    return Arm(config.spec, space, default, Journal(store.path / "tuning" / f"{name}.log", str(config.spec)))


def with_options(spec: Spec, options: Mapping[str, Scalar]) -> Spec:
    """The spec with these options, `method.lr` and so on, as its text reads back."""
    halves = {}
    for half in ("method", "regularizer"):
        part: Part = getattr(spec, half)
        more = {name.partition(".")[2]: value for name, value in options.items() if name.startswith(f"{half}.")}
        # 1.0 is 1, as in a spec that is read from a file.
        halves[half] = Part(part.name, {**part.options, **{k: parse_value(format_value(v)) for k, v in more.items()}})
    return parse_spec(str(Spec(**halves)))


@dataclass(frozen=True)
class Attempt:
    """A trial that is to be run, with a configuration for each seed; `error` says why they cannot be."""

    arm: Arm
    number: int
    options: dict[str, Scalar]
    spec: Spec
    configs: tuple[RunConfig, ...]
    error: str

    def outcome(self, rows: Mapping[str, Sequence[Row]], budget: Budget) -> Trial:
        """The trial that it has become, from the rows of its runs by their ids."""
        runs = [rows.get(config.run_id, ()) for config in self.configs]
        values = tuple(score(run, budget.chosen) for run in runs)
        failed = next((place for place, value in enumerate(values) if value is None), None)
        note = self.error
        if failed is not None and not note:
            said = next((row for row in runs[failed] if row.status != "ok"), None)
            note = f"seed {budget.seeds[failed]}: {said.note or said.status if said else 'a value is not finite'}"
        return Trial(
            number=self.number,
            source=source_of(self.number, budget.trials),
            spec=str(self.spec),
            options=self.options,
            values=values,
            run_ids=tuple(config.run_id for config in self.configs),
            wall_s=sum(next((row.wall_s for row in run if row.wall_s), 0.0) for run in runs),
            status="ok" if failed is None else "failed",
            note=note,
            cdnv=tuple(score(run, (CROWDING,)) for run in runs),
        )


def score(rows: Sequence[Row], chosen: Sequence[MetricChoice]) -> float | None:
    """The mean of what is chosen of a run, None where one is missing or not finite."""
    values = []
    for one in chosen:
        value = next((row.value for row in rows if row.status == "ok" and one.matches(key_of(row))), None)
        if value is None or not math.isfinite(value):
            return None
        values.append(value)
    return fmean(values)


def tune(
    arms: Sequence[Arm],
    budget: Budget,
    configured: Configured,
    shop: Workshop,
    *,
    processes: int,
    overwrite: bool = False,
    announce: Callable[[Sequence[RunConfig]], None] = lambda configs: None,
) -> None:
    """Run the trials that the journals of the arms lack, a batch of every arm at a time, and write them down.

    The trials are the same with any number of processes, and whether or not the search was stopped in between.
    `announce` is told of the runs of a batch first. Raises Interrupted where a signal came: what was trained is kept.
    """
    for start in range(0, budget.trials, BATCH):
        attempts = [one for arm in arms for one in attempts_of(arm, start, budget, configured, shop)]
        # Two trials may have come to the same options; they share their runs.
        configs = {config.run_id: config for one in attempts if not one.error for config in one.configs}
        announce(list(configs.values()))
        jobs = [Job(config, budget.what(), overwrite) for config in configs.values()]
        rows: dict[str, list[Row]] = {}
        for row in run_all(jobs, processes, shop):
            rows.setdefault(row.run_id, []).append(row)
        for one in attempts:
            one.arm.tell(one.outcome(rows, budget))


def attempts_of(arm: Arm, start: int, budget: Budget, configured: Configured, shop: Workshop) -> list[Attempt]:
    """The trials of a batch, from `start` on, that are not written down yet; raises UsageError where the defaults
    cannot be."""
    done = len(arm.journal.trials())
    count = min(BATCH, budget.trials - start)
    if done >= start + count:
        return []
    attempts = []
    for number, options in enumerate(arm.propose(start, count, budget.trials), start=start):
        if number < done:
            continue
        # The first are the defaults as every other command runs them.
        spec = with_options(arm.spec, options) if number else arm.spec
        configs = tuple(configured(spec, seed) for seed in budget.seeds)
        error = ""
        try:
            validate(configs[0], shop)
        except UsageError as refused:
            if not number:
                raise
            error = str(refused)
        attempts.append(Attempt(arm, number, options, spec, configs, error))
    return attempts


def comparison_flags(
    specs: Sequence[str], config: RunConfig, request: Request, seeds: str, budget: Budget
) -> dict[str, object]:
    """The flags of `compare` for the winning specs, under the conditions of the search, as a file holds them."""
    # What was not said is a recipe's, and recipes may differ.
    own = {"method", "seed"} | {name for name in ("epochs", "batch_size") if getattr(request, name) is None}
    shared = {name: value for name, value in config.flags().items() if name not in own}
    return {"specs": list(specs), "seeds": seeds, "tuning": str(budget), **shared}
