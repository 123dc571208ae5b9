"""Fixed subsets, stratified or of whole groups: the same images for everyone, whatever a run's seed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from dsabench import rng
from dsabench.errors import DataError, UsageError


def held_out_count(total: int, classes: int, fraction: float) -> int:
    """How many of `total` images are held out: `fraction` of them, but one of every class at least."""
    return max(round(total * fraction), classes)


def stratified(labels: Tensor, count: int, purpose: str, *, leave: int) -> Tensor:
    """Positions, ascending, of `count` of the `labels` (N,) int64, every class in proportion.

    Every class gives at least one and keeps at least `leave`, so `count` must lie between the number of classes and
    N - `leave` times that number. `purpose` names the draw. A smaller count gives, within rounding, a subset.
    """
    sizes = torch.bincount(labels)
    shares = _shares(sizes, count, leave)
    order = torch.randperm(len(labels), generator=rng.generator("split", purpose))
    by_class = order[torch.argsort(labels[order], stable=True)]
    starts = sizes.cumsum(0) - sizes
    rank_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
    return by_class[rank_in_class < shares[labels[by_class]]].sort().values


def _shares(sizes: Tensor, count: int, leave: int) -> Tensor:
    """How many of each class: proportional, by largest remainders, between 1 and its size less `leave`."""
    quota = sizes.double() * (count / int(sizes.sum()))
    shares = quota.floor().long().clamp_min(1).minimum(sizes - leave)
    while (missing := count - int(shares.sum())) != 0:
        owed = (quota - shares) if missing > 0 else (shares - quota)
        free = (shares < sizes - leave) if missing > 0 else (shares > 1)
        shares[owed.where(free, -torch.inf).argmax()] += 1 if missing > 0 else -1
    return shares


def groups_of(names: Iterable[str], pattern: str) -> list[str]:
    """The group of each name: what the one group of the regular expression `pattern` finds in it.

    Raises UsageError for a pattern that is none or has no group or more than one, DataError for a name without a match.
    """
    try:
        expression = re.compile(pattern)
    except re.error as error:
        raise UsageError(f"cannot read --group-by {pattern!r} as a regular expression: {error}") from error
    if expression.groups != 1:
        raise UsageError(f"--group-by {pattern!r} must have one group in parentheses, and has {expression.groups}")
    found = []
    for name in names:
        match = expression.search(name)
        if match is None or match[1] is None:
            raise DataError(f"--group-by {pattern!r} finds no group in the name {name!r}")
        found.append(match[1])
    return found


def whole_groups(labels: Tensor, groups: Sequence[str], count: int, purpose: str) -> Tensor:
    """Positions, ascending, of about `count` of the `labels` (N,) int64, whole groups alone, classes in proportion.

    Groups are taken in a random order as long as they bring the classes nearer to their shares; every class gives one
    image at least and keeps one. `purpose` names the draw. Raises DataError where a class lies within a single group.
    """
    names, member_of = torch.unique(torch.tensor(_numbered(groups)), return_inverse=True)
    table = torch.zeros(len(names), int(labels.max()) + 1, dtype=torch.int64)
    table.index_put_((member_of, labels), torch.ones_like(labels), accumulate=True)
    sizes = table.sum(0)
    target, held = sizes.double() * (count / len(labels)), torch.zeros_like(sizes)
    order = torch.randperm(len(names), generator=rng.generator("split", purpose)).tolist()
    taken: list[int] = []

    def take(group: int) -> None:
        nonlocal held
        held = held + table[group]
        taken.append(group)

    for group in order:
        wider = held + table[group]
        if (wider < sizes).all() and (wider - target).abs().sum() < (held - target).abs().sum():
            take(group)
    for label in (held == 0).nonzero().flatten().tolist():
        if held[label] > 0:
            continue
        free = [g for g in order if g not in taken and table[g, label] and (held + table[g] < sizes).all()]
        if not free:
            raise DataError(
                f"class number {label} cannot be both held out and kept without splitting a group; "
                "it lies in too few groups: use another --group-by, or a smaller --val-share"
            )
        take(min(free, key=lambda g: int(table[g].sum())))
    chosen = torch.zeros(len(names), dtype=torch.bool)
    chosen[taken] = True
    return chosen[member_of].nonzero().squeeze(1)


def _numbered(groups: Sequence[str]) -> list[int]:
    """Groups as numbers, in the order of their names."""
    numbers = {name: number for number, name in enumerate(sorted(set(groups)))}
    return [numbers[name] for name in groups]
