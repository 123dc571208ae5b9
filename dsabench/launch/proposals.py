"""What to try next: the defaults, a quasi-random start, then TPE. Pure functions of the trials that are done."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import QMCSampler, TPESampler
from optuna.trial import FrozenTrial, create_trial

from dsabench.config.spaces import Dimension, Range
from dsabench.registry import Scalar
from dsabench.rng import seed_of

# Trials that are proposed at once, from what is known of those before: any fewer would leave processors idle, and a
# number that depended on the processors would make the trials depend on them.
BATCH = 4

# Of all trials, about the share that does not look at the others.
START = 1 / 4

Options = dict[str, Scalar]

optuna.logging.set_verbosity(optuna.logging.WARNING)


def distribution(dimension: Dimension) -> BaseDistribution:
    """A dimension in optuna's terms."""
    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension.choices)
    if isinstance(dimension.low, int) and isinstance(dimension.high, int):
        return IntDistribution(dimension.low, dimension.high, log=dimension.log)
    return FloatDistribution(dimension.low, dimension.high, log=dimension.log)


def start_of(trials: int) -> int:
    """How many of so many trials, the defaults among them, do not look at the others: whole batches, at least one."""
    return BATCH * max(1, round(START * trials / BATCH))


def source_of(number: int, trials: int) -> str:
    """Where the options of a trial come from, in a word."""
    return "default" if number == 0 else "quasi-random" if number < start_of(trials) else "tpe"


def propose(
    name: str,
    space: Mapping[str, Dimension],
    default: Options,
    history: Sequence[FrozenTrial],
    count: int,
    trials: int,
) -> list[Options]:
    """The options of the `count` trials that come after those in `history`, of a search of so many trials.

    The search's `name` seeds it: the same history gives the same proposals, in every process.
    """
    distributions = {option: distribution(dimension) for option, dimension in space.items()}
    numbers = range(len(history), len(history) + count)
    first = [default, *quasi_random(name, distributions, default, start_of(trials) - 1)]
    study = optuna.create_study(direction="maximize")
    study.add_trials(history)
    proposed = []
    for number in numbers:
        if number < len(first):
            proposed.append(first[number])
            continue
        # A seed for each trial, so that a search that was stopped needs no state of a sampler. The trials proposed
        # before this one stay open in the study, and TPE keeps its distance from them.
        study.sampler = TPESampler(n_startup_trials=0, seed=seed_32(name, "tpe", number))
        proposed.append(study.ask(distributions).params)
    return [
        options if options is default else {option: space[option].nearest(value) for option, value in options.items()}
        for options in proposed
    ]


def quasi_random(
    name: str, distributions: Mapping[str, BaseDistribution], default: Options, count: int
) -> list[Options]:
    """The first points of a scrambled Sobol sequence; a larger count begins with the same ones."""
    with warnings.catch_warnings():
        # Its interface may change in a later version.
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = QMCSampler(scramble=True, seed=seed_32(name, "quasi-random"))
    study = optuna.create_study(direction="maximize", sampler=sampler)
    # The sampler reads off the first trial what there is to draw.
    study.add_trial(create_trial(params=default, distributions=dict(distributions), value=0.0))
    return [study.ask(dict(distributions)).params for _ in range(count)]


def seed_32(*names: str | int) -> int:
    """A named seed that NumPy's older generators take."""
    return seed_of("tune", *names) % 2**32
