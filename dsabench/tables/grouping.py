"""Arms of what exists: runs grouped by spec and by what else tells them apart.

An arm that is not a spec alone is called by its spec and what sets it apart, `simclr (30 epochs)`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches

from dsabench.config.spec import brief_names, parse_spec, without_options
from dsabench.errors import NothingToCompare, UsageError, several, unknown
from dsabench.tables.collecting import data_flags
from dsabench.tables.comparisons import own_plain
from dsabench.tables.rows import Row

# What runs of one arm share, with the words for it.
_HELD = {
    "backbone": "{}",
    "epochs": "{} epochs",
    "batch_size": "batch {}",
    "train_images": "{} training images",
    "image_size": "{} px",
    "lr": "lr {}",
    "precision": "{}",
    "threads": "{} threads",
    "augment": "{} views",
    "trained_on": "trained on {}",
}
# A text that is told in one line has at most so many characters.
_LINE = 100


def named(rows: Sequence[Row]) -> dict[str, list[Row]]:
    """The rows of each arm under its name, in order of appearance; a row's spec is that name then.

    The first is what the others are compared with, and therefore a plain method where there is one: which of several
    runs side by side began first is chance.

    Runs of one spec are arms of their own where they differ in what is held equal within an arm. That may be another
    value on each data set, unless it tells runs of any spec apart on one of them. What a table does not know sets
    nothing apart. Raises UsageError where two runs of an arm have one seed on one data set.
    """
    by_spec: dict[str, list[Row]] = {}
    for row in rows:
        by_spec.setdefault(row.spec, []).append(row)
    plain = next((row.spec for row in rows if row.regularizer == "none"), None)
    if plain is not None:
        by_spec = {plain: by_spec.pop(plain), **by_spec}
    arms: dict[str, list[Row]] = {}
    varied = [name for name in _HELD if any(len(_values(name, own)) > 1 for own in by_spec.values())]
    for spec, own in by_spec.items():
        telling = [name for name in varied if len({getattr(row, name) for row in own} - {None, ""}) > 1]
        for row in own:
            known = {name: getattr(row, name) for name in telling if getattr(row, name) not in (None, "")}
            apart = ", ".join(_told(name, value) for name, value in known.items())
            arms.setdefault(f"{spec} ({apart})" if apart else spec, []).append(row)
    for name, own in arms.items():
        _check_seeds(name, own)
    return {
        name: own if name == own[0].spec else [replace(row, method=name, regularizer="none") for row in own]
        for name, own in arms.items()
    }


def _check_seeds(name: str, rows: Iterable[Row]) -> None:
    runs: dict[tuple[str, int], str] = {}
    for row in rows:
        known = runs.setdefault((row.dataset, row.seed), row.run_id)
        if known != row.run_id:
            raise UsageError(
                f"{known} and {row.run_id} are both {name} s{row.seed} on {row.dataset}; take one of them, as in "
                f"--where run_id={known}"
            )


def _values(name: str, rows: Iterable[Row]) -> list[object]:
    """What is known of a column, each value once; where a data set has its own, it tells no arms apart."""
    found: dict[str, list[object]] = {}
    for row in rows:
        value = getattr(row, name)
        if value not in (None, "", *found.setdefault(row.dataset, [])):
            found[row.dataset].append(value)
    return max(found.values(), key=len, default=[])


def _told(name: str, value: object) -> str:
    text = _HELD[name].format(_text(value))
    return text.removesuffix("s") if value == 1 and name != "trained_on" else text


def _text(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)


def unequal(by_dataset: Mapping[str, Mapping[str, Sequence[Row]]]) -> list[str]:
    """What was not held equal between the arms of a data set, a text a column: `epochs: simclr, byol 60; moco 30`.

    Where there are several data sets it says which it is true of: `epochs on digits, cifar10: ...`. A text that is
    long has a line for each value. Arms go without their options where that tells them apart.
    """
    lines: dict[tuple[str, str], list[str]] = {}
    shown = brief_names({arm for arms in by_dataset.values() for arm in arms})
    for dataset, arms in by_dataset.items():
        for name in _HELD:
            told: dict[str, list[str]] = {}
            for arm, rows in arms.items():
                if values := _values(name, rows):
                    told.setdefault("/".join(map(_text, values)), []).append(shown[arm])
            if len(told) > 1:
                parts = [f"{', '.join(alike)} {text}" for text, alike in told.items()]
                words = "; ".join(parts) if len("; ".join(parts)) <= _LINE else "".join(f"\n  {part}" for part in parts)
                lines.setdefault((name.replace("_", " "), words), []).append(dataset)
    many = len(by_dataset) > 1
    return [
        (f"{name} on {', '.join(where)}: {words}" if many else f"{name}: {words}").replace(": \n", ":\n")
        for (name, words), where in lines.items()
    ]


def pairs_of_arms(arms: Mapping[str, Sequence[Row]]) -> list[tuple[str, str]]:
    """(arm, against): every arm against the first, and every regularized one against its own plain method too.

    That is the plain arm of the method whose runs were held equal to its own in all but the rate.
    """
    names = list(arms)
    pairs = [(name, names[0]) for name in names[1:]]
    for name in names[1:]:
        alike = [one for one in names if _conditions(arms[one]) == _conditions(arms[name])]
        plain = _plain_of(name, alike)
        if plain is not None and plain != names[0]:
            pairs.insert(pairs.index((name, names[0])) + 1, (name, plain))
    return pairs


def _conditions(rows: Sequence[Row]) -> list[object]:
    return [_values(name, rows) for name in _HELD if name != "lr"]


def _plain_of(name: str, alike: Sequence[str]) -> str | None:
    """The arm of these that is the plain method of one of them, by the specs that their names begin with."""
    specs = {}
    for one in alike:
        try:
            specs[one] = parse_spec(one.partition(" (")[0])
        except UsageError:
            # The name of an encoder, which is no spec.
            continue
    if name not in specs:
        return None
    plain = own_plain(specs[name], list(specs.values()))
    return next((one for one, spec in specs.items() if spec == plain), None)


def picked(arms: Mapping[str, list[Row]], names: Sequence[str]) -> dict[str, list[Row]]:
    """The arms of these names or specs, in their order, or all of them where there are none.

    Raises UsageError for a name that no arm has, NothingToCompare where fewer than two arms are left.
    """
    wanted: dict[str, list[Row]] = {}
    for name in names:
        meant = [arm for arm in arms if name in (arm, arm.partition(" (")[0])]
        if not meant:
            raise unknown("arm", name, {*arms, *(arm.partition(" (")[0] for arm in arms)})
        wanted |= {arm: arms[arm] for arm in meant}
    left = wanted or dict(arms)
    if len(left) < 2:
        there = f"only {next(iter(left))} is there" if left else "nothing is there"
        raise NothingToCompare(f"a comparison needs two arms, and {there}; see: dsabench list runs")
    return left


def meant(names: Sequence[str], specs: Collection[str], others: Collection[str] = ()) -> dict[str, str]:
    """What each name of an arm stands for: itself, or of a spec without options the only one of `specs` that has some.

    `others` are names that are no specs. Raises UsageError for a name that nothing has, or that several could be.
    """
    found = {}
    for name in names:
        text = name.partition(" (")[0]
        with suppress(UsageError):
            text = str(parse_spec(text))
        if text in specs or name in (*specs, *others):
            found[name] = name
            continue
        like = [one for one in specs if without_options(one) == name]
        if len(like) > 1:
            raise UsageError(f"{name!r} could be any of {several(like, ', ')}; name one")
        if not like:
            short = brief_names({*specs, *others})
            there = sorted(short.values())
            near = get_close_matches(name, [*there, *sorted(short)], n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}? the" if near else "; the"
            raise UsageError(f"unknown arm {name!r}{hint} arms are {several(there, ', ')}")
        found[name] = like[0]
    return found


def are_single(arms: Mapping[str, Sequence[Row]]) -> bool:
    """Whether every arm on a data set is one model that ended well: there are no seeds to compare over."""
    return all(
        len({row.run_id for row in own}) == 1 and all(row.status != "failed" for row in own) for own in arms.values()
    )


def check_shared(by_dataset: Mapping[str, Mapping[str, Sequence[Row]]], outside: Collection[str] = ()) -> None:
    """Raise NothingToCompare where every data set has the rows of one arm alone; `outside` is that of `same_images`."""
    if any(len(own) > 1 for own in by_dataset.values()):
        return
    places = "; ".join(f"{', '.join(own)} on {dataset}" for dataset, own in by_dataset.items())
    raise NothingToCompare(f"no data set has two of the arms: {places}{same_images(by_dataset, outside)}")


def same_images(by_dataset: Mapping[str, Mapping[str, Sequence[Row]]], outside: Collection[str]) -> str:
    """With which flags arms from `outside`, models or embeddings, would stand beside runs of the same images.

    Empty where none is alone, or there are several data sets that could be meant.
    """
    alone = [name for own in by_dataset.values() if set(own) <= set(outside) for name in own]
    theirs = [dataset for dataset, own in by_dataset.items() if not set(own) & set(outside)]
    if not alone or len(theirs) != 1:
        return ""
    rows = [row for own in by_dataset[theirs[0]].values() for row in own]
    return f"; if the images of {alone[0]} are those of {theirs[0]}, say {data_flags(theirs[0], rows)}"


def grouped_by_dataset(arms: Mapping[str, Sequence[Row]]) -> dict[str, dict[str, list[Row]]]:
    """The rows of each arm on each data set, in order of appearance."""
    found: dict[str, dict[str, list[Row]]] = {}
    for arm, rows in arms.items():
        for row in rows:
            found.setdefault(row.dataset, {}).setdefault(arm, []).append(row)
    return found
