"""Paired comparisons as sentences."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from dsabench.config.spec import brief_names
from dsabench.report.effects import Effect, Guarded, effects
from dsabench.report.table import Difference, PValue, grouped
from dsabench.report.wording import amount, counted, times, told, too_few, written

if TYPE_CHECKING:
    from dsabench.stats import Comparison


def finding(
    comparisons: Sequence[Comparison],
    *,
    cost_ratio: Mapping[tuple[str, str], float] | None = None,
) -> str:
    """One sentence a pair, a line each, on what the primary metric shows; empty where there is none.

    `cost_ratio[spec, against]` is the training time of a run of `spec` in runs of `against`.
    """
    ratios = cost_ratio or {}
    sentences = []
    for primary in (one for one in effects(comparisons) if one.role == "primary"):
        ratio = ratios.get((primary.spec, primary.against))
        cost = "" if ratio is None else f" A run takes {times(ratio)} times as long."
        sentences.append(_sentence(primary) + cost)
    return "\n".join(sentences)


def declared(sentences: Sequence[str]) -> str:
    """A line for each way in which a comparison departs from its declaration; empty where it does not."""
    return "\n".join(f"{sentence[:1].upper()}{sentence[1:]}." for sentence in sentences)


def one_model_each(arms: Sequence[str]) -> str:
    """What arms of one model each are beside runs with seeds, in a line; empty where there are none."""
    if not arms:
        return ""
    have, are = ("have", "each stands") if len(arms) > 1 else ("has", "it stands")
    return f"{', '.join(arms)} {have} no seeds: {are} beside one run of every other arm, and nothing is tested."


def narrowed(chosen: Sequence[Comparison], whole: Sequence[Comparison], picked: str) -> list[str]:
    """What Holm's adjustment makes of the same pairs where it counts all that a table has, a line a baseline.

    `chosen` are the comparisons of some arms, `whole` those of all, `picked` says which, as in `2 of 15 arms of a.csv`.
    Nothing is said where a choice changes no family.
    """
    ours, theirs = (
        {(one.spec, one.against): one for one in effects(found) if one.role == "primary"} for found in (chosen, whole)
    )
    names = brief_names({arm for pair in theirs for arm in pair})
    lines = []
    for against, pairs in grouped((pair for pair in ours if pair in theirs), itemgetter(1)).items():
        family, larger = ours[pairs[0]].family, theirs[pairs[0]].family
        if larger <= family:
            continue
        values = [_p_is(theirs[pair].p) + (f" of {names[pair[0]]}" if len(pairs) > 1 else "") for pair in pairs]
        lines.append(
            f"{picked}: Holm counts {counted(family, 'pair')}; over all its {larger} pairs against {names[against]} "
            f"{', '.join(values)}"
        )
    return lines


def reach(pairs: Sequence[tuple[str, str]], n_seeds: int) -> list[str]:
    """What p so many seeds can give the pairs (arm, against) of a comparison after Holm, a line a baseline.

    It is known before anything is trained, and so is what would do where no verdict can be reached.
    """
    # SciPy comes with it.
    from dsabench.stats.verdict import ALPHA, largest_family, least_p, would_do

    lines = []
    for against, family in Counter(against for _, against in pairs).items():
        least = least_p(n_seeds, family)
        holm = " after Holm" if family > 1 else ""
        line = f"{counted(family, 'pair')} against {against}, {counted(n_seeds, 'seed')}: p{holm} "
        if least < ALPHA:
            lines.append(f"{line}can be as small as {written(PValue(least)).lstrip('<')}")
            continue
        enough, most = would_do(n_seeds, family), largest_family(n_seeds)
        line += f"cannot be below {written(PValue(least))}, so that none can reach .05; "
        remedies = [f"{enough} seeds"] if enough else []
        remedies += [f"fewer arms ({n_seeds} seeds are enough for {counted(most, 'pair')})"] if most else []
        lines.append(f"warning: {line}{' or '.join(remedies)} would do")
    return lines


def _sentence(primary: Effect) -> str:
    """What was found, in brackets what it rests on, the condition that decided, and the verdict at the end."""
    # SciPy comes with it.
    from dsabench.stats.verdict import NO_SEEDS, NOT_SHOWN, TOO_FEW

    metric = primary.metric + (f" ({primary.layer})" if primary.layer != "backbone" else "")
    opening = f"{primary.spec} against {primary.against} on {metric}"
    facts = ["no seed has a value of both"]
    if primary.before and primary.after and primary.difference:
        percent = primary.measure.unit
        facts = [f"{written(primary.before)}{percent} -> {written(primary.after)}{percent}"]
        difference = told(primary.difference)
        if _moved(primary, primary.difference):
            verb = "lowers" if primary.difference.value < 0 else "raises"
            opening = f"{primary.spec} {verb} {metric} against {primary.against} by {difference.lstrip('+-')}"
        else:
            facts.append(f"difference {difference}")
    seeds = counted(primary.n_pairs, "seed")
    holm = f" after Holm over {primary.family} pairs" if primary.family > 1 else ""
    if primary.word == TOO_FEW:
        facts.append(too_few(primary.n_pairs, primary.would_do, holm))
        if math.isfinite(primary.interval.low) and math.isfinite(primary.interval.high):
            facts.append(f"exact 95% interval {told(primary.interval)}")
        facts.append(_p_is(primary.alone) + (" before Holm" if primary.family > 1 else ""))
    elif primary.word != NO_SEEDS:
        facts.append(f"exact 95% interval {told(primary.interval)}, {_p_is(primary.p)}{holm}, {seeds}")
    facts += primary.shortfalls
    longer = {NOT_SHOWN: "a difference is not shown", NO_SEEDS: "no seeds to compare over"}
    verdict = longer.get(primary.word, primary.word)
    return f"{opening} ({'; '.join(facts)}){_condition(primary)}: {verdict}."


def _moved(primary: Effect, difference: Difference) -> bool:
    """Whether the verdict says that the metric moved, the way that its means did: failures may speak against them."""
    from dsabench.stats.verdict import BETTER, FAILS_MORE, TIGHTER, TOO_SMALL, UNGUARDED, WORSE

    gained = (difference.value > 0) == primary.measure.higher_is_better
    return difference.value != 0 and primary.word in (
        (BETTER, TIGHTER, TOO_SMALL, UNGUARDED, FAILS_MORE) if gained else (WORSE,)
    )


def _condition(primary: Effect) -> str:
    """The clause on what let the primary metric's gain count, or did not."""
    from dsabench.stats.verdict import BETTER, TIGHTER, TOO_SMALL, UNGUARDED

    if primary.word == BETTER and primary.guards:
        alike = grouped(primary.guards, lambda guard: (guard.gain.unit, guard.margin))
        gains = "; ".join(
            f"{_gains(guards)}; margin {amount(margin, unit)}" for (unit, margin), guards in alike.items()
        )
        return f", and no guard fell by more than its margin ({gains})"
    if primary.word == TOO_SMALL and primary.smallest_effect is not None:
        return f", less than {amount(primary.smallest_effect, '%')}% of the baseline"
    if primary.word in (TIGHTER, UNGUARDED):
        return ", but " + " and ".join(_objection(guard) for guard in primary.guards if not guard.held)
    return ""


def _gains(guards: Sequence[Guarded]) -> str:
    *others, last = guards
    return ", ".join([*(f"{guard.label} {written(guard.gain)}" for guard in others), f"{last.label} {told(last.gain)}"])


def _objection(guard: Guarded) -> str:
    if guard.held is None:
        return f"{guard.label} was not measured on enough seeds"
    low, high, unit = guard.gain.low, guard.gain.high, guard.gain.unit
    most = told(Difference(-low, unit, guard.gain.size)).lstrip("+")
    fallen = f"may have fallen by {'any amount' if math.isinf(low) else most}"
    if high < 0 and math.isfinite(low):
        fallen = f"fell by {written(Difference(-high, unit, guard.gain.size)).lstrip('+')} to {most}"
    return f"{guard.label} {fallen} (margin {amount(guard.margin, unit)})"


def _p_is(p: PValue | None) -> str:
    text = written(p)
    return f"p < {text.lstrip('<')}" if text.startswith("<") else f"p = {text}"


def per_image(p_values: Mapping[tuple[str, str], Sequence[float]]) -> str:
    """A line a pair on McNemar's test of the kNN answers, seed by seed; empty where there is none."""
    lines = []
    for (spec, against), values in p_values.items():
        if values:
            listed = ", ".join(written(PValue(value)) for value in values)
            low = sum(value < 0.05 for value in values)
            lines.append(f"{spec} against {against}: p < .05 in {low} of {counted(len(values), 'seed')} ({listed})")
    if not lines:
        return ""
    return "\n".join(["McNemar on the kNN answers, image by image (images are not seeds: no verdict):", *lines])
