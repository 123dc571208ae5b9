"""Stores and tables that every released version wrote: they load; those of a version to come are refused by name."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import run
from dsabench.tables import rows
from dsabench.tables.rows import read_csv
from dsabench.training.record import SCHEMA_VERSION

TESTS = Path(__file__).parents[2] / "tests"
STORES, TABLE = TESTS / "training" / "stores", TESTS / "tables" / "golden" / "results.csv"


def old_stores(outcome: Outcome, root: Path, small: bool) -> None:
    """Read what there is of every version, and of one that does not exist yet."""
    # A version has a second store where it wrote two things.
    versions = {folder.name.removeprefix("version"): folder for folder in sorted(STORES.iterdir())}
    missing = {str(version) for version in range(1, SCHEMA_VERSION + 1)} - versions.keys()
    outcome.add("a fixture of every schema", [f"there is none of {sorted(missing)}"] if missing else [])
    for version, folder in versions.items():
        store = root / version / "runs"
        shutil.copytree(folder, store)
        names = sorted(path.parent.name for path in store.glob("*/*/*/run.json"))
        listed = run(("list", "runs", "--json"), store.parent)
        wrong = listed.wrong(0) or ([listed.err.strip()] if "warning" in listed.err else [])
        count = len(json.loads(listed.out or "[]"))
        wrong += [] if count == len(names) else [f"{count} of {len(names)} are listed"]
        outcome.add(f"list of schema {version}", wrong)
        for name in names:
            outcome.add(f"show of schema {version}", run(("show", name.rpartition("-")[2]), store.parent).wrong(0))
        path = next(store.glob("*/*/*/run.json"))
        path.write_text(json.dumps(json.loads(path.read_text()) | {"schema_version": SCHEMA_VERSION + 1}))
        done = run(("show", path.parent.relative_to(store.parent)), store.parent)
        said = f"has schema_version {SCHEMA_VERSION + 1}" in done.err and "run.json" in done.err
        outcome.add(f"a newer record than {version}", done.wrong(3) or ([] if said else [done.err.strip()]))
    tables(outcome, root)


def tables(outcome: Outcome, root: Path) -> None:
    """Read a table under the columns of every schema, and refuse one of the next."""
    newest = rows.SCHEMA_VERSION
    for columns, version in (*rows._EARLIER.items(), (rows.COLUMNS, newest)):
        path = root / f"rows-{version}.csv"
        write(path, columns, version)
        found = {row.schema_version for row in read_csv(path)}
        # Schemas from 3 on mean the same, and their rows are those of the newest.
        meant = version if version < 3 else newest
        outcome.add(f"a table of schema {version}", [] if found == {meant} else [f"schemas {found}"])
    path = root / "newer.csv"
    write(path, rows.COLUMNS, newest + 1)
    done = run(("report", path), root)
    said = f"schema_version {newest + 1}" in done.err and path.name in done.err
    outcome.add("a newer table", done.wrong(3) or ([] if said else [done.err.strip()]))


def write(path: Path, columns: tuple[str, ...], version: int) -> None:
    """The table of the tests with these columns alone, of that schema."""
    with TABLE.open(newline="") as source, path.open("w", newline="") as file:
        table = csv.DictWriter(file, columns, extrasaction="ignore", lineterminator="\n")
        table.writeheader()
        table.writerows({**record, "schema_version": version} for record in csv.DictReader(source))
