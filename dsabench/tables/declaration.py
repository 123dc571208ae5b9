"""What a comparison declared before it looked: written beside the runs once, and held against whatever is asked later.

`declarations/HASH.json` in the runs folder is written the first time that a set of specs is compared there. Whoever
asks for another primary metric, more seeds or fewer arms afterwards may, and reads that it is so.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dsabench import __version__
from dsabench.config.eval_config import EvalConfig
from dsabench.config.renames import (
    adjusted_only_if_said,
    drawn_if_not_said,
    in_spec,
    renamed_and_respelled,
    respelled,
)
from dsabench.config.run_config import RunConfig
from dsabench.errors import DataError, UsageError
from dsabench.files import canonical_json, read_json, write_atomic
from dsabench.tables.criteria import Criteria

FOLDER = "declarations"
# The form of a declaration. The first had no number, and regularizers had the names of before; up to the second
# `dsa` had other defaults, up to the third it adjusted nothing, and up to the fourth it drew neighbours.
SCHEMA_VERSION = 5
_CHANGED_SINCE = {1: renamed_and_respelled, 2: respelled, 3: adjusted_only_if_said, 4: drawn_if_not_said}
# What may change without another question being asked, with the words for it.
_CHANGEABLE = {
    "primary": "primary",
    "layer": "layer",
    "split": "split",
    "guards": "guards",
    "margins": "margins",
    "smallest_effect": "smallest effect",
}


def _utc_now() -> str:
    # With microseconds: of two declarations the earlier one counts.
    return datetime.now(UTC).isoformat()


def _versions() -> dict[str, str]:
    return {"dsabench": __version__, **{name: metadata.version(name) for name in ("torch", "numpy", "scipy")}}


@dataclass(frozen=True)
class Declaration:
    """What a comparison of `specs` (the baseline first) on `seeds` will be judged by.

    `setting` identifies the data and the training that all arms share: the data's hash, backbone, epochs. `primary` and
    `guards` are texts that the command line reads, `margins` as many as guards. `runs_seen` is how many runs of these
    arms had finished when it was written.
    """

    setting: Mapping[str, str | int]
    specs: tuple[str, ...]
    seeds: tuple[int, ...]
    primary: str
    guards: tuple[str, ...]
    margins: tuple[float, ...]
    smallest_effect: float
    layer: str = "backbone"
    split: str = "test"
    runs_seen: int = 0
    utc: str = field(default_factory=_utc_now)
    versions: Mapping[str, str] = field(default_factory=_versions)
    schema_version: int = SCHEMA_VERSION

    @property
    def name(self) -> str:
        """The name of its file, from the setting and the set of specs."""
        identity = {
            "setting": dict(self.setting),
            "specs": sorted(set(self.specs)),
            "schema_version": self.schema_version,
        }
        return f"{hashlib.sha256(canonical_json(identity).encode()).hexdigest()[:16]}.json"


def declaration_of(
    planned: Sequence[RunConfig], seeds: Sequence[int], criteria: Criteria, what: EvalConfig
) -> Declaration:
    """What a comparison of these planned runs will be judged by."""
    run = planned[0]
    return Declaration(
        setting={
            "data": canonical_json(run.data.identity()),
            "backbone": run.backbone,
            "batch_size": run.batch_size,
            # The baseline's; where another arm has epochs of its own, its spec says so.
            "epochs": run.epochs,
        },
        specs=tuple(dict.fromkeys(str(one.spec) for one in planned)),
        seeds=tuple(seeds),
        primary=str(criteria.primary),
        guards=tuple(str(guard.choice) for guard in criteria.guards),
        margins=tuple(guard.margin for guard in criteria.guards),
        smallest_effect=criteria.smallest_effect,
        layer=str(what.layers[0]),
        split=what.split,
    )


def declare(folder: Path, declaration: Declaration, *, runs_seen: int) -> tuple[Declaration, list[str]]:
    """The declaration that holds for a comparison, written now where there is none yet, and how it was departed from.

    `folder` is that of the runs, `runs_seen` counts the runs of these arms that have finished. It is the earliest
    declaration in one setting that holds all these specs: dropping an arm does not start anew. Raises DataError where
    a file is damaged, StorageError where none can be written.
    """
    held = held_by(folder, declaration)
    if held is None:
        held = replace(declaration, runs_seen=runs_seen)
        write_atomic(folder / FOLDER / held.name, json.dumps(asdict(held), indent=1) + "\n")
    return held, deviations(held, declaration, runs_seen)


def held_by(folder: Path, declaration: Declaration) -> Declaration | None:
    """The declaration that holds for one made now; None where there is none yet."""
    earlier = [known for known in read_declarations(folder) if known.setting == dict(declaration.setting)]
    covering = [known for known in earlier if set(known.specs) >= set(declaration.specs)]
    return min(covering, key=lambda known: known.utc, default=None)


def deviations(declared: Declaration, now: Declaration, runs_seen: int) -> list[str]:
    """How a comparison departs from what was declared, in words; `runs_seen` are the runs that have finished by now.

    What a departure is from stands first: declaring is done by comparing, and nobody need have noticed.
    """
    when = "after looking" if runs_seen else "before any run was seen"
    seen = declared.runs_seen
    verb = "were" if seen > 1 else "was"
    late = [f"{seen} of these runs {verb} finished when this comparison was declared"] if seen else []
    words = []
    if now.specs[0] != declared.specs[0]:
        words.append(f"baseline changed from {declared.specs[0]} to {now.specs[0]} {when}")
    for name, said in _CHANGEABLE.items():
        before, after = getattr(declared, name), getattr(now, name)
        if before != after:
            words.append(f"{said} changed from {_text(before)} to {_text(after)} {when}")
    for kind, before, after in (("seed", declared.seeds, now.seeds), ("arm", declared.specs, now.specs)):
        words += _changed(kind, before, after)
    if words:
        words.insert(0, f"what decides was set by the first comparison of these arms here, {first_of(declared)}")
    return late + words


def read_declarations(folder: Path) -> list[Declaration]:
    """All declarations beside the runs in `folder`; raises DataError for a damaged one."""
    return [_parsed(path, read_json(path)) for path in sorted((folder / FOLDER).glob("*.json"))]


def _parsed(path: Path, content: Mapping[str, Any]) -> Declaration:
    if content.get("schema_version", 1) in _CHANGED_SINCE:
        content = _of_now(content, path)
    names = {one.name for one in fields(Declaration)}
    if content.keys() != names or content["schema_version"] != SCHEMA_VERSION:
        differing = ", ".join(sorted(content.keys() ^ names))
        raise DataError(f"{path} is no declaration of this version of dsabench ({differing}); move it out of the way")
    lists = {name: tuple(value) for name, value in content.items() if isinstance(value, list)}
    return Declaration(**{**content, **lists})


def _of_now(content: Mapping[str, Any], path: Path) -> Mapping[str, Any]:
    change = _CHANGED_SINCE[content.get("schema_version", 1)]
    try:
        specs = [in_spec(spec, change) for spec in content.get("specs", ())]
    except (TypeError, UsageError) as error:
        raise DataError(f"{path} is no declaration of dsabench ({error}); move it out of the way") from error
    return {**content, "specs": specs, "schema_version": SCHEMA_VERSION}


def _changed(kind: str, before: Collection[object], after: Collection[object]) -> list[str]:
    more, fewer = [one for one in after if one not in before], [one for one in before if one not in after]
    return [
        f"{len(listed)} {word} {kind}{'s' * (len(listed) > 1)} than in it: {', '.join(map(str, listed))}"
        for word, listed in (("more", more), ("fewer", fewer))
        if listed
    ]


def first_of(declared: Declaration) -> str:
    """Which comparison a declaration is of: `of simclr and byol on 2026-01-31`."""
    *arms, last = declared.specs
    return f"of {', '.join(arms)}{' and ' if arms else ''}{last} on {declared.utc.partition('T')[0]}"


def _text(value: object) -> str:
    return (", ".join(map(str, value)) or "none") if isinstance(value, tuple) else str(value)
