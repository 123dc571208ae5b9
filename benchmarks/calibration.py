"""How often nothing is called better: planted nulls, judged by the verdict of `dsabench compare`.

python -m benchmarks.calibration [--json] [--smoke]; about two minutes on one core, writes results/calibration.csv.

4,000 comparisons a row in which the primary metric (lower is better, 1 in the mean) does not differ in the mean between
the arms. Three rates in each: an exact p below .05 whichever way, the same with the primary metric better, and the
verdict *better*, with its smallest effect and its guards, whose differences are nothing but noise: .4 points for kNN, 1
point for 5-shot, about as much as on digits. Half of the first is what p promises for the second, where the differences
are symmetric. In `rare losses` an arm gains a little in nine runs of ten and loses nine times as much in the tenth:
what too few seeds never saw, no test of them can count. In `failing runs` every run of both arms fails once in ten.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from dsabench.files import write_atomic
from dsabench.rng import numpy_generator
from dsabench.stats import Guard, MetricKey, summarise
from dsabench.stats.paired import TIE_TOLERANCE
from dsabench.tables.rows import csv_text

NULLS, SMOKE_NULLS = 4000, 40
SEEDS = (6, 8, 10)
LOOKS = (6, 8, 10, 12)
METRICS = 16
OUTPUT = Path("results") / "calibration.csv"

PRIMARY = MetricKey("backbone", "crowding", "{}", "cdnv")
GUARD_SPREADS = {
    MetricKey("backbone", "knn", "{}", "accuracy"): 0.004,
    MetricKey("backbone", "fewshot", "{}", "accuracy"): 0.01,
}
DIRECTIONS: dict[MetricKey, bool | None] = {PRIMARY: False, **dict.fromkeys(GUARD_SPREADS, True)}
GUARDS = [Guard(key.probe, key) for key in GUARD_SPREADS]

Floats: TypeAlias = np.ndarray[Any, Any]
# What a null does to the differences of the primary metric: (generator, shape) -> differences, nan where a run failed.
World: TypeAlias = Callable[[np.random.Generator, tuple[int, int]], Floats]


def normal(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Symmetric, as the test assumes."""
    return generator.normal(0, 0.1, shape)


def heavy_tailed(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Student's t with two degrees of freedom: symmetric, without a variance."""
    return 0.1 * generator.standard_t(2, shape)


def exponential(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Small gains more often than losses, which are larger."""
    return 0.1 * (generator.exponential(1, shape) - 1)


def rare_losses(generator: np.random.Generator, shape: tuple[int, int]) -> Floats:
    """Nine small gains for a loss nine times as large."""
    lost = generator.random(shape) < 0.1
    return np.where(lost, 0.9, -0.1) + generator.normal(0, 0.02, shape)


WORLDS: Mapping[str, World] = {
    "normal": normal,
    "heavy-tailed": heavy_tailed,
    "exponential": exponential,
    "rare losses": rare_losses,
    "failing runs": normal,
}


def main() -> None:
    """Simulate every row, print, and write the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--smoke", action="store_true", help="a few nulls a row, written nowhere")
    options = parser.parse_args()
    nulls = SMOKE_NULLS if options.smoke else NULLS
    rows = [simulated(world, n, nulls) for world in WORLDS for n in SEEDS]
    rows += [peeking(nulls), best_of_metrics(nulls)]
    text = "# python -m benchmarks.calibration\n" + csv_text(list(rows[0]), [row.values() for row in rows])
    if not options.smoke:
        write_atomic(OUTPUT, text)
    print(json.dumps({"benchmark": "calibration", "rows": rows}) if options.json else text)


def simulated(world: str, n: int, nulls: int) -> dict[str, Any]:
    """One metric, looked at once."""
    return row(world, n, "one look at one metric", judged(*arms(world, n, nulls), guards(n, nulls)))


def peeking(nulls: int) -> dict[str, Any]:
    """Every look at the same growing runs, until one shows something."""
    ours, theirs = arms("normal", max(LOOKS), nulls)
    noise = guards(max(LOOKS), nulls)
    looks = [judged(ours[:, :n], theirs[:, :n], noise[:, :, :n]) for n in LOOKS]
    return row("normal", max(LOOKS), f"peeking at {', '.join(map(str, LOOKS))} seeds", np.any(looks, axis=0))


def best_of_metrics(nulls: int) -> dict[str, Any]:
    """Every one of independent metrics as the primary one."""
    noise = guards(8, nulls)
    found = [judged(*arms("normal", 8, nulls, metric), noise) for metric in range(METRICS)]
    return row("normal", 8, f"best of {METRICS} metrics", np.any(found, axis=0))


def row(world: str, n: int, rule: str, found: Floats) -> dict[str, Any]:
    """The rates of what was found (3, nulls)."""
    rates = {
        name: float(share) for name, share in zip(("p_below_05", "gains", "better"), found.mean(axis=1), strict=True)
    }
    return {"null": world, "seeds": n, "rule": rule, "nulls": found.shape[1], **rates}


def arms(world: str, n: int, nulls: int, metric: int = 0) -> tuple[Floats, Floats]:
    """The primary metric of the arm and of its baseline, (nulls, n) each."""
    generator = numpy_generator("calibration", world, n, metric)
    theirs = generator.normal(1, 0.05, (nulls, n))
    ours = theirs + WORLDS[world](generator, (nulls, n))
    if world == "failing runs":
        ours, theirs = (np.where(generator.random((nulls, n)) < 0.1, np.nan, arm) for arm in (ours, theirs))
    return ours, theirs


def guards(n: int, nulls: int) -> Floats:
    """Differences (guards, nulls, n) of the guards."""
    generator = numpy_generator("calibration", "guards", n)
    return np.stack([generator.normal(0, spread, (nulls, n)) for spread in GUARD_SPREADS.values()])


def judged(ours: Floats, theirs: Floats, noise: Floats) -> Floats:
    """Which comparisons (3, nulls) have p below .05, have it with a gain, and are called better."""
    differences = ours - theirs
    broken = np.isnan(differences).any(axis=1)
    significant = np.zeros(len(differences), dtype=bool)
    significant[~broken] = sign_flip_p(differences[~broken]) < 0.05
    found = np.stack([significant, significant & (differences.mean(axis=1) < 0), np.zeros_like(significant)])
    # Without a p below .05 and a gain nothing is called better, so that few need the whole verdict.
    for null in np.flatnonzero(broken | found[1]):
        p, gains, verdict = whole_verdict(ours[null], theirs[null], noise[:, null])
        found[:, null] = p < 0.05, p < 0.05 and gains, verdict == "better"
    return found


def sign_flip_p(differences: Floats) -> Floats:
    """`dsabench.stats.sign_flip_p` of many comparisons (nulls, n) at once, (nulls,)."""
    n = differences.shape[1]
    # The first sign stays: the other half of the flips has the same sums but for their sign.
    signs = 1 - 2 * ((np.arange(2 ** (n - 1))[:, None] >> np.arange(n)) & 1)
    observed = np.abs(differences.sum(axis=1))
    tolerance = TIE_TOLERANCE * np.abs(differences).sum(axis=1)
    sums = np.abs(differences @ signs.T)
    extreme: Floats = (sums >= (observed - tolerance)[:, None]).mean(axis=1)
    return extreme


def whole_verdict(ours: Floats, theirs: Floats, noise: Floats) -> tuple[float, bool, str]:
    """p, whether the primary metric is better, and the verdict, from the primary metric (n,) and guards (guards, n)."""
    values: dict[str, dict[int, dict[MetricKey, float]]] = {"arm": {}, "against": {}}
    for seed, (mine, other) in enumerate(zip(ours, theirs, strict=True)):
        values["arm"][seed] = {PRIMARY: float(mine)}
        values["against"][seed] = {PRIMARY: float(other)}
        for key, drift in zip(GUARD_SPREADS, noise[:, seed], strict=True):
            values["arm"][seed][key] = 0.95 + float(drift)
            values["against"][seed][key] = 0.95
    primary, *_ = summarise(values, pairs=[("arm", "against")], primary=PRIMARY, directions=DIRECTIONS, guards=GUARDS)
    return primary.p, primary.low + primary.high < 0, primary.verdict


if __name__ == "__main__":
    main()
