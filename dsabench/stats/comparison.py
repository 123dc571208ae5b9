"""`Comparison`: one row per pair of arms and metric."""

from __future__ import annotations

from dataclasses import dataclass

from dsabench.stats.outcomes import MetricKey


@dataclass(frozen=True)
class GuardCheck:
    """What a guard says of a pair: `low` and `high` bound its gain (positive is better), which must stay above -margin.

    `held` is None where the guard was not measured on enough seeds to bound anything.
    """

    name: str
    margin: float
    low: float
    high: float
    held: bool | None

    def __str__(self) -> str:
        state = {True: "held", False: "fallen", None: "not measured"}[self.held]
        return f"{self.name} {state} ({self.low:+.4g} to {self.high:+.4g}, margin {self.margin:g})"


@dataclass(frozen=True)
class Comparison:
    """One metric of one arm against another over the seeds that both have.

    `difference` is mean(arm - against), as the means and deviations over the `n_seeds` pairs of two finite values
    (None of one).
    `low`, `high` invert the exact test whose two-sided p is `p`: the sign-flip test, or where runs failed or are
    missing the signed-rank test, over all `n_pairs` (`test` says which); `t_low`, `t_high` are Student's interval.
    `role` is `primary`, `secondary` or `descriptive` (judged in no family). `p_holm` is p within the secondary metrics
    of a pair, `p_pairs` that of the primary metric within the pairs that share a baseline.

    `n_failed`, `n_failed_against` count runs without a finite value; `missing`, `missing_against` are seeds never run.
    `skewed` warns that the differences do not look symmetric, which the tests assume. `gap_closed` is set where a
    supervised arm, the `ceiling`, is at hand, with a 95% bootstrap interval over seeds. `smallest_effect` and `guards`
    are set for the primary metric alone. `images_low`, `images_high` bound the difference over seeds and test images,
    where somebody with the features has computed them: `dsabench.stats.bootstrap`.
    """

    spec: str
    against: str
    key: MetricKey
    role: str
    higher_is_better: bool | None
    n_seeds: int
    mean_against: float
    std_against: float | None
    mean: float
    std: float | None
    difference: float
    low: float
    high: float
    t_low: float
    t_high: float
    p: float
    p_holm: float | None
    can_reach_05: bool
    gap_closed: float | None
    verdict: str
    test: str = "sign-flip"
    n_pairs: int = 0
    n_failed: int = 0
    n_failed_against: int = 0
    missing: tuple[int, ...] = ()
    missing_against: tuple[int, ...] = ()
    p_pairs: float | None = None
    skewed: bool = False
    ceiling: str | None = None
    gap_low: float | None = None
    gap_high: float | None = None
    smallest_effect: float | None = None
    guards: tuple[GuardCheck, ...] = ()
    images_low: float | None = None
    images_high: float | None = None

    def shortfalls(self) -> list[str]:
        """What each arm owes, in words: runs that failed, seeds that are missing."""
        n = self.n_pairs + len({*self.missing, *self.missing_against})
        words = []
        for arm, failed, missing in (
            (self.spec, self.n_failed, self.missing),
            (self.against, self.n_failed_against, self.missing_against),
        ):
            if failed:
                words.append(f"{arm}: {failed} of {n - len(missing)} runs failed")
            if missing:
                words.append(f"{arm}: seed{'s' * (len(missing) > 1)} {', '.join(map(str, missing))} missing")
        return words
