"""Rows of what exists, from several sources by name: a store, a table. Whether they can be mixed is checked.

No value in them changes; what one data set is called may.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace

from dsabench.data import DATASETS
from dsabench.errors import DataError
from dsabench.tables.rows import KEY, Row

# What must be one in all rows of a data set and split, unless somebody says that it need not be.
MIXED = ("dataset_sha256", "probe_version", "preprocess", "schema_version")
# What can be behind another hash of the data, with the words for it.
_OF_IMAGES = {"image_size": "{} px", "train_images": "{} training images", "n": "{} images"}


def with_one_name(sources: Mapping[str, Sequence[Row]]) -> tuple[dict[str, list[Row]], dict[str, str]]:
    """The rows with one name for each content of data (`dataset_sha256`), the first, and what other names became."""
    first: dict[str, str] = {}
    became: dict[str, str] = {}
    for row in (row for rows in sources.values() for row in rows):
        # The row of a failed run has the content that it was trained on, whatever it was to be evaluated on.
        if row.status != "failed" and row.dataset_sha256:
            known = first.setdefault(row.dataset_sha256, became.get(row.dataset, row.dataset))
            if known not in (row.dataset, became.get(row.dataset)):
                became[row.dataset] = known
    return {source: [_renamed(row, became) for row in rows] for source, rows in sources.items()}, became


def _renamed(row: Row, became: Mapping[str, str]) -> Row:
    """The row under the name that its data set became, also where that is what was trained on."""
    trained_on = row.trained_on
    for old, new in became.items():
        # Behind the name may stand what it was contaminated with.
        if trained_on == old or trained_on.startswith(f"{old}, "):
            trained_on = new + trained_on.removeprefix(old)
            break
    return replace(row, dataset=became.get(row.dataset, row.dataset), trained_on=trained_on) if became else row


def collected(sources: Mapping[str, Sequence[Row]], allowed: Collection[str] = ()) -> list[Row]:
    """The rows of all sources, each once.

    Raises DataError where two sources disagree about a value, or where the rows of one data set and split differ in
    what makes values comparable (`MIXED`) and that is not `allowed`; it names rows that differ.
    """
    seen: dict[tuple[object, ...], tuple[str, Row]] = {}
    for source, rows in sources.items():
        for row in rows:
            key = tuple(getattr(row, name) for name in KEY)
            known = seen.setdefault(key, (source, row))
            if not _same(known[1].value, row.value):
                raise DataError(
                    f"{known[0]} and {source} differ: {row.metric} of {row.probe} of {_run(row)} is "
                    f"{known[1].value} and {row.value}; compare them one at a time"
                )
    for name in MIXED:
        if name not in allowed:
            _check_one(name, seen.values())
    return [row for _, row in seen.values()]


def _same(a: float | None, b: float | None) -> bool:
    return a == b or (a != a and b != b)


def _check_one(name: str, rows: Collection[tuple[str, Row]]) -> None:
    """Raise DataError where the rows of one data set and split that ended differ in a column."""
    first: dict[tuple[str, str], tuple[str, Row]] = {}
    for source, row in rows:
        if row.status == "failed":
            continue
        before, known = first.setdefault((row.dataset, row.split), (source, row))
        if getattr(known, name) != getattr(row, name):
            first_words, second_words = _apart(name, known, row)
            raise DataError(
                f"rows of {row.dataset}, {row.split} split, differ in {name}: {first_words} "
                f"({_run(known)}, {before}) and {second_words} ({_run(row)}, {source}); "
                f"{_remedy(name, known, row)}, or say that it may: --mix {name}"
            )


def _apart(name: str, known: Row, row: Row) -> tuple[str, str]:
    """What a column has in two rows, of the data's hash in words where the rows tell what is behind it."""
    told = [
        (form.format(getattr(known, column)), form.format(getattr(row, column)))
        for column, form in _OF_IMAGES.items()
        if name == "dataset_sha256" and len({getattr(known, column), getattr(row, column)} - {None}) > 1
    ]
    if told:
        first, second = zip(*told, strict=True)
        return ", ".join(first), ", ".join(second)
    return _short(getattr(known, name)), _short(getattr(row, name))


def _remedy(name: str, known: Row, row: Row) -> str:
    """How two rows that differ in a column can be brought together, or one of them be taken."""
    for column in ("image_size", "train_images") if name == "dataset_sha256" else ():
        first, second = getattr(known, column), getattr(row, column)
        if None not in (first, second) and first != second:
            return f"say {data_flags(row.dataset, [known])}, take those of one (--where {column}={first})"
    return "select with --where"


def data_flags(dataset: str, rows: Iterable[Row]) -> str:
    """The flags that name the images which runs were trained on, at their size where that is one."""
    # What somebody calls own images is no name that --dataset takes.
    flags = [f"--dataset {dataset}" if dataset in DATASETS else f"--dataset and --data-dir of {dataset}"]
    sizes = {row.image_size for row in rows} - {None}
    return " ".join([*flags, *(f"--image-size {size}" for size in sizes if len(sizes) == 1)])


def _short(value: object) -> str:
    text = str(value) or "not recorded"
    return text[:12] if len(text) == 64 else text


def _run(row: Row) -> str:
    return f"{row.spec} s{row.seed}, run {row.run_id}"
