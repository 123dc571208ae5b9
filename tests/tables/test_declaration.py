"""What was declared stays declared: written once, before or after looking, and every departure is printed."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from spelled import dsa

from dsabench.errors import DataError
from dsabench.tables.declaration import Declaration, declare, deviations, read_declarations

DECLARED = Declaration(
    setting={"dataset_sha256": "5183", "epochs": 60},
    specs=("simclr", "simclr+dsa", "byol"),
    seeds=(0, 1, 2, 3, 4, 5),
    primary="cdnv",
    guards=("knn", "fewshot[classifier=centroid,shots=5]"),
    margins=(0.01, 0.01),
    smallest_effect=0.05,
)

WERE = "of these runs were finished when this comparison was declared"


def test_the_first_comparison_writes_down_what_it_declares(tmp_path: Path) -> None:
    held, words = declare(tmp_path, DECLARED, runs_seen=0)
    assert (held, words) == (DECLARED, [])
    (path,) = (tmp_path / "declarations").iterdir()
    written = json.loads(path.read_text())
    assert path.name == DECLARED.name
    assert (written["primary"], written["seeds"], written["margins"]) == ("cdnv", [0, 1, 2, 3, 4, 5], [0.01, 0.01])
    assert {"dsabench", "torch", "numpy", "scipy"} == set(written["versions"])
    assert read_declarations(tmp_path) == [DECLARED]
    # The same again, whatever the order of the arms: nothing is written and nothing is said.
    assert declare(tmp_path, replace(DECLARED, utc="later"), runs_seen=18) == (DECLARED, [])
    assert path.read_text() == json.dumps(written, indent=1) + "\n"


def test_what_was_declared_after_looking_says_so_for_ever(tmp_path: Path) -> None:
    held, words = declare(tmp_path, DECLARED, runs_seen=12)
    assert (held.runs_seen, words) == (12, [f"12 {WERE}"])
    assert declare(tmp_path, DECLARED, runs_seen=18)[1] == [f"12 {WERE}"]
    assert deviations(replace(DECLARED, runs_seen=1), DECLARED, 18) == ["1 " + WERE.replace("were", "was")]


@pytest.mark.parametrize(
    ("now", "words"),
    [
        ({"primary": "knn"}, ["primary changed from cdnv to knn after looking"]),
        (
            {"guards": ("knn",), "margins": (0.05,)},
            [
                "guards changed from knn, fewshot[classifier=centroid,shots=5] to knn after looking",
                "margins changed from 0.01, 0.01 to 0.05 after looking",
            ],
        ),
        ({"guards": ()}, [f"guards changed from {', '.join(DECLARED.guards)} to none after looking"]),
        ({"smallest_effect": 0.01}, ["smallest effect changed from 0.05 to 0.01 after looking"]),
        (
            {"layer": "projector", "split": "val"},
            ["layer changed from backbone to projector after looking", "split changed from test to val after looking"],
        ),
        ({"seeds": tuple(range(10))}, ["4 more seeds than in it: 6, 7, 8, 9"]),
        ({"seeds": (0, 1, 2, 4, 5, 6)}, ["1 more seed than in it: 6", "1 fewer seed than in it: 3"]),
        ({"specs": ("simclr", "simclr+dsa")}, ["1 fewer arm than in it: byol"]),
        ({"specs": ("byol", "simclr", "simclr+dsa")}, ["baseline changed from simclr to byol after looking"]),
    ],
)
def test_every_departure_is_printed_as_what_it_is(tmp_path: Path, now: dict[str, object], words: list[str]) -> None:
    declare(tmp_path, DECLARED, runs_seen=0)
    later = replace(DECLARED, **now)  # type: ignore[arg-type]
    held, said = declare(tmp_path, later, runs_seen=18)
    first = "what decides was set by the first comparison of these arms here, of simclr, simclr+dsa and byol on "
    assert (held, said) == (DECLARED, [f"{first}{DECLARED.utc[:10]}", *words])
    assert read_declarations(tmp_path) == [DECLARED]


def test_a_change_before_any_run_is_no_looking() -> None:
    assert deviations(DECLARED, replace(DECLARED, primary="knn"), 0)[1:] == [
        "primary changed from cdnv to knn before any run was seen"
    ]


def test_dropping_an_arm_does_not_start_anew_and_another_setting_or_a_new_arm_does(tmp_path: Path) -> None:
    declare(tmp_path, DECLARED, runs_seen=0)
    two = replace(DECLARED, specs=("simclr", "simclr+dsa"), utc="9999")
    for _ in range(2):
        assert declare(tmp_path, two, runs_seen=18)[1][1:] == ["1 fewer arm than in it: byol"]
    assert declare(tmp_path, replace(two, setting={"dataset_sha256": "5183", "epochs": 2}), runs_seen=0)[1] == []
    four = replace(DECLARED, specs=(*DECLARED.specs, "vicreg"))
    assert declare(tmp_path, four, runs_seen=18)[1] == [f"18 {WERE}"]
    assert len(read_declarations(tmp_path)) == 3


def test_a_damaged_declaration_is_named(tmp_path: Path) -> None:
    path = tmp_path / "declarations" / "0.json"
    path.parent.mkdir()
    path.write_text('{"primary": "cdnv"}')
    with pytest.raises(DataError, match=r"0\.json is no declaration .*guards"):
        declare(tmp_path, DECLARED, runs_seen=0)
    path.write_text("{")
    with pytest.raises(DataError, match="damaged"):
        read_declarations(tmp_path)


def test_a_declaration_of_before_is_of_what_its_specs_are_called_now(tmp_path: Path) -> None:
    before = asdict(replace(DECLARED, specs=("simclr", "simclr+dsa"), utc="2026-01-31"))
    del before["schema_version"]
    path = tmp_path / "declarations" / "0123456789abcdef.json"
    path.parent.mkdir()
    path.write_text(json.dumps(before))
    now = replace(DECLARED, specs=("simclr", "simclr+dsa-nested"), utc="2026-02-01")
    assert declare(tmp_path, now, runs_seen=0) == (replace(now, utc="2026-01-31"), [])
    # Another question is declared anew.
    other = replace(DECLARED, specs=("simclr", "simclr+dsa"))
    assert declare(tmp_path, other, runs_seen=0) == (other, [])
    assert len(list(path.parent.iterdir())) == 2
    # From the second version on `dsa` was what it is, with other defaults.
    path.write_text(json.dumps(before | {"schema_version": 2, "utc": "2026-01-30"}))
    earlier = replace(DECLARED, specs=("simclr", f"simclr+{dsa(adjust=False, weight=1, spread=0)}"), utc="2026-01-30")
    assert declare(tmp_path, replace(earlier, utc="2026-02-01"), runs_seen=0) == (earlier, [])
    # Up to the third it adjusted nothing.
    path.write_text(json.dumps(before | {"schema_version": 3, "utc": "2026-01-29"}))
    earlier = replace(DECLARED, specs=("simclr", f"simclr+{dsa(adjust=False, weight=3)}"), utc="2026-01-29")
    assert declare(tmp_path, replace(earlier, utc="2026-02-01"), runs_seen=0) == (earlier, [])
    # Up to the fourth it drew neighbours, and did not always say what it adjusted features by.
    said = ["simclr", "simclr+dsa[adjust_by=neighbours]"]
    path.write_text(json.dumps(before | {"schema_version": 4, "utc": "2026-01-28", "specs": said}))
    earlier = replace(DECLARED, specs=("simclr", f"simclr+{dsa(adjust_by='neighbours', weight=3)}"), utc="2026-01-28")
    assert declare(tmp_path, replace(earlier, utc="2026-02-01"), runs_seen=0) == (earlier, [])
    path.write_text(json.dumps(before | {"schema_version": 4}))
    with pytest.raises(DataError, match=r"dsa does not say what it adjusted .*; move it out of the way"):
        read_declarations(tmp_path)
    path.write_text(json.dumps(before | {"specs": ["simclr+"]}))
    with pytest.raises(DataError, match="is no declaration of dsabench"):
        read_declarations(tmp_path)
