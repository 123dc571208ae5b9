import io
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from arms import FAMILY, MEASURED, PAIR, PRIMARY, failed, overview_rows, row, rows_of
from rich.console import Console

from dsabench.report import (
    finding,
    overview_tables,
    paired_tables,
    print_comparisons,
    print_listing,
    print_overview,
    print_values,
    print_words,
    run_table,
)
from dsabench.report.table import Arm, Mean, Number, Table
from dsabench.report.terminal import _VERDICTS, draw
from dsabench.report.values import value_tables
from dsabench.report.wording import written
from dsabench.stats import verdict

GOLDEN = Path(__file__).parent / "golden"


def rendered(
    show: Callable[[Console], None], *, encoding: str = "utf-8", terminal: bool = False, width: int = 80
) -> str:
    file = io.TextIOWrapper(io.BytesIO(), encoding=encoding, newline="")
    show(Console(file=file, width=width, force_terminal=terminal, color_system=None))
    file.seek(0)
    text = file.read()
    assert max(map(len, text.splitlines())) <= width
    return text


def overview(console: Console) -> None:
    print_overview(console, overview_rows())


def pair(console: Console) -> None:
    print_comparisons(console, PAIR)


def family(console: Console) -> None:
    print_comparisons(console, FAMILY)


def values(console: Console) -> None:
    print_values(console, rows_of("simclr", [3]))


@pytest.mark.parametrize("show", [overview, pair, family, values])
@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_tables_are_the_golden_ones(show: Callable[[Console], None], encoding: str) -> None:
    text = rendered(show, encoding=encoding)
    assert text == (GOLDEN / f"{show.__name__}-{encoding}.txt").read_text(encoding=encoding)
    assert rendered(show, encoding=encoding, terminal=True) == text


def numbers(table: Table) -> set[str]:
    cells = (cell for section in table.sections for line in section.rows for cell in line)
    return {written(cell) for cell in cells if isinstance(cell, Mean | Number)}


@pytest.mark.parametrize("width", [20, 40, 60, 120])
def test_a_narrow_console_folds_words_and_moves_numbers_below_but_cuts_none(width: int) -> None:
    for table in (*overview_tables(overview_rows()), *paired_tables([*PAIR, *FAMILY])):
        text = rendered(lambda console, table=table: draw(console, table), width=width)
        assert "…" not in text
        assert numbers(table) <= set(text.split()), width
        whole = text.replace("\n", "").replace(" ", "")
        assert all(note.replace(" ", "") in whole for note in table.notes)


def test_what_has_no_room_stands_in_a_block_below_with_the_names_again() -> None:
    lines = [line.split() for line in rendered(overview, width=60).splitlines()]
    assert [line for line in lines if line[:1] == ["spec"]] == [
        ["spec", "n", "↓", "%", "↑", "%", "↑", "%", "↑", "↑"], ["spec", "s/run"],
    ]  # fmt: skip
    assert ["supervised†", "6", ".168±.007", "98.2±.4", "90.5±1.9", "98.8±.2", ".432±.019"] in lines
    assert ["supervised†", "23.4±1.5", "61"] in lines


def test_arms_that_collapse_now_and_then_still_fit() -> None:
    spread = [
        row(
            "barlow_twins+dsa",
            seed,
            probe=probe,
            probe_params=params,
            metric=metric,
            value=value,
            higher_is_better=True,
        )
        for seed, value in enumerate((0.1, 0.98))
        for probe, params, metric, *_ in MEASURED
    ]
    text = rendered(lambda console: print_overview(console, spread))
    assert "54.0±62.2" in text
    assert "barlow_twins+dsa" in text


def test_a_name_is_broken_where_it_reads_best_in_the_room_that_numbers_leave() -> None:
    lines = [line.split() for line in rendered(overview, width=78).splitlines()]
    place = lines.index(["+dsa"])
    assert lines[place - 1][:3] == ["barlow_twins", "6", ".148±.007"]
    assert lines[2][-1] == "s/run"


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_names_are_neither_markup_nor_commands_to_the_terminal(encoding: str) -> None:
    name = "[red]\x1b[31mé\udcff\u202e[/red]"
    rows = [row(name, 0, dataset=name), row(name, 1, dataset=name)]
    for show in (
        lambda console: print_overview(console, rows),
        lambda console: print_values(console, rows),
        lambda console: print_listing(console, name, [{"name": name, name: name}]),
        lambda console: print_comparisons(console, [replace(PRIMARY, spec=name + "+dsa", against=name)]),
    ):
        text = "".join(rendered(show, encoding=encoding).split())
        assert f"[red]?[31m{'?' if encoding == 'ascii' else 'é'}??[/red]" in text


def test_values_of_several_runs_stand_in_columns_named_by_what_tells_them_apart() -> None:
    several = [row("simclr", 0, value=0.1), row("byol", 0, value=0.2), row("byol", 0, metric="rankme", value=9.0)]
    (table,) = value_tables(several)
    assert [column.label for column in table.columns] == ["metric", "layer", "simclr", "byol"]
    assert [[written(cell) for cell in line[2:]] for line in table.sections[0].rows] == [[".100", ".200"], ["", "9.00"]]
    for more, heads in (
        (row("simclr", 1), ["simclr s0", "byol s0", "simclr s1"]),
        (row("simclr", 0, run_id="ff"), ["simclr s0 simclr-0", "byol s0 byol-0", "simclr s0 ff"]),
    ):
        (table,) = value_tables([*several, more])
        assert [column.label for column in table.columns[2:]] == heads
    # Data of one name may be others.
    assert len(value_tables([*several, row("simclr", 1, dataset_sha256="0" * 64)])) == 2


def test_overview_shows_only_what_rows_hold_and_a_lone_seed_without_spread() -> None:
    text = rendered(lambda console: print_overview(console, [row("simclr", 0, value=0.25)]))
    assert ".250" in text
    assert "CDNV" in text
    for absent in ("kNN", "linear", "RankMe", "failed", "†", ".250±"):
        assert absent not in text


def test_overview_averages_within_one_data_set_split_layer_and_parameter_alone() -> None:
    knn = {"probe": "knn", "metric": "accuracy", "higher_is_better": True}
    rows = [
        row("simclr", 0, **knn, probe_params='{"k":20}', value=0.9),
        row("simclr", 0, **knn, probe_params='{"k":200}', value=0.1),
        row("simclr", 0, **knn, probe_params='{"k":20}', layer="projector", value=0.2),
        row("simclr", 0, **knn, probe_params='{"k":20}', split="val", value=0.3),
        row("simclr", 0, **knn, probe_params='{"k":20}', dataset="cifar10", value=0.4),
    ]
    text = rendered(lambda console: print_overview(console, rows))
    titles = [line.strip() for line in text.splitlines() if "features" in line]
    assert titles == [f"{where} split, backbone features" for where in ("digits, test", "digits, val", "cifar10, test")]
    assert [line.split()[2] for line in text.splitlines() if line.startswith("simclr")] == ["90.0", "30.0", "40.0"]


def test_overview_keeps_unequal_runs_of_a_spec_apart_and_says_when_a_seed_ran_twice() -> None:
    rows = [
        row("simclr", 0, value=0.1),
        row("simclr", 0, value=0.3, epochs=120, run_id="longer"),
        row("byol", 0, value=0.5),
        row("byol", 0, value=0.7, run_id="other-options"),
    ]
    lines = [line.split() for line in rendered(lambda console: print_overview(console, rows)).splitlines()]
    assert ["simclr", "1", ".100", "61"] in lines
    assert ["simclr", "1", ".300", "61"] in lines
    assert ["60", "epochs"] in lines
    assert ["120", "epochs"] in lines
    assert ["byol", "1", ".600±.141", "61"] in lines
    assert ["2", "runs"] in lines


def test_arms_say_how_their_options_were_chosen_where_that_differs() -> None:
    search, longer = "16 trials of 2 seeds, maximising kNN", "32 trials of 2 seeds, maximising kNN"
    chosen = {"simclr": "defaults", "byol": "by hand", "simclr+dsa": search, "byol+dsa": longer, "vicreg": ""}
    rows = [row(spec, 0, tuning=tuning) for spec, tuning in chosen.items()]
    (table,) = overview_tables([*rows, failed("byol", 1)])
    arms = [line[0] for section in table.sections for line in section.rows]
    remarks = {arm.spec: [remark.text for remark in arm.remarks] for arm in arms if isinstance(arm, Arm)}
    assert remarks == {
        "simclr": ["defaults"], "byol": ["by hand", "1 of 2 failed"], "simclr+dsa": ["tuned"], "byol+dsa": ["tuned"],
        "vicreg": [],
    }  # fmt: skip
    assert table.notes[-2:] == (f"tuned: {search} (simclr+dsa)", f"tuned: {longer} (byol+dsa)")
    for tuning, notes in (("defaults", []), (search, [f"tuned: {search}"])):
        (alike,) = overview_tables([replace(one, tuning=tuning) for one in rows])
        assert not any(line[0].remarks for line in alike.sections[0].rows if isinstance(line[0], Arm))
        assert [note for note in alike.notes if "tuned" in note] == notes
    text = rendered(lambda console: draw(console, table), width=60)
    assert "  tuned" in text


def test_every_verdict_has_a_style_and_fits_beside_the_numbers() -> None:
    words = {value for name, value in vars(verdict).items() if name.isupper() and isinstance(value, str)}
    assert len(words) == 11
    assert words == set(_VERDICTS)
    for word in words:
        text = rendered(lambda console, word=word: print_comparisons(console, [replace(PRIMARY, verdict=word)]))
        assert "primary, backbone" in text
        assert [line.split()[:2] for line in text.splitlines()].count(["CDNV", "↓"]) == 1


def test_a_data_set_whose_runs_all_failed_is_still_shown() -> None:
    text = rendered(lambda console: print_overview(console, [failed("simclr", 0), failed("simclr", 1)]))
    assert "digits, no run finished" in text
    assert "2 of 2 failed" in text


def test_comparison_puts_the_primary_first_and_limits_only_secondary_metrics() -> None:
    text = rendered(lambda console: print_comparisons(console, PAIR, limit=2))
    order = ["primary, backbone", "CDNV", "secondary, backbone", "silhouette", "descriptive, backbone", "RankMe"]
    places = [text.index(word) for word in order]
    assert all(before < after for before, after in pairwise(places))
    assert "kNN" not in text
    assert "Holm over 11 secondary metrics" in text
    assert "9 more left out of this table" in text
    assert "secondary: 6 seeds are too few, 9 would do (all of them)" in text


def test_comparison_survives_options_in_brackets_and_unbounded_intervals() -> None:
    spec, against = "simclr[temperature=0.2]+dsa[lambda1=5]", "simclr[temperature=0.2]"
    few = replace(
        PRIMARY, spec=spec, against=against, n_seeds=3, n_pairs=3, low=-math.inf, high=math.inf, p=0.25,
        can_reach_05=False, verdict="too few",
    )  # fmt: skip
    text = rendered(lambda console: print_comparisons(console, [few]))
    assert spec in " ".join(text.split())
    assert "too few" in text
    assert "3 seeds are too few, 6 would do" in text
    # Beside a metric that says something, one that says nothing has its place.
    both = rendered(
        lambda console: print_comparisons(
            console, [replace(PRIMARY, spec=spec, against=against), replace(few, role="secondary")]
        )
    )
    assert "unbounded" in both


def test_seeds_too_few_for_any_metric_leave_out_the_columns_that_say_nothing() -> None:
    few = [
        replace(one, n_seeds=2, n_pairs=2, low=-math.inf, high=math.inf, p=0.5, can_reach_05=False, verdict="too few")
        for one in PAIR
    ]
    (table,) = paired_tables(few)
    assert [column.label for column in table.columns][3:] == ["diff.", "verdict"]
    assert "primary: 2 seeds are too few, 6 would do" in table.notes
    assert not [note for note in table.notes if note.startswith(("interval and p", "secondary: p adjusted"))]
    (lone,) = paired_tables([replace(few[0], n_seeds=1, n_pairs=1, t_low=-math.inf, t_high=math.inf)])
    assert "unbounded" not in rendered(lambda console: draw(console, lone))


def test_runs_stand_in_one_block_of_80_columns_and_no_word_of_theirs_is_broken() -> None:
    like: dict[str, object] = {"epochs": 60, "batch_size": 256, "status": "finished", "train_images": 1294}
    like |= {"backbone": "resnet-small", "started_utc": "2026-11-22T01:21:06Z"}
    runs = [
        {**like, "run_id": f"0123456789a{seed}", "spec": spec, "seed": seed, "dataset": dataset}
        for seed, (spec, dataset) in enumerate([("simclr+dsa-minimal", "fashion-mnist"), ("byol", "digits")])
    ]
    table = run_table("runs", runs, of=2)
    text = rendered(lambda console: draw(console, table))
    lines = [line.split() for line in text.splitlines() if line.strip()]
    assert [words[0] for words in lines].count("run") == 1
    assert ["0123456789a0", "simclr", "0", "fashion-mnist", "11-22", "01:21"] in lines
    assert ["+dsa-minimal"] in lines
    assert table.notes == ("all: epochs 60, batch 256, status finished, images 1,294, backbone resnet-small",)


TUNED = "barlow_twins[temperature=0.123456,weight_decay=0.000468]+dsa-minimal[k=27,lambda1=15.9]"


@pytest.mark.parametrize("width", [40, 60, 80])
def test_no_name_and_no_number_of_a_table_is_cut_in_the_middle(width: int) -> None:
    """A spec is broken between its options, a long name behind an underscore; a column without room stands below."""
    runs = [
        {
            **dict.fromkeys(("run_id", "spec", "seed", "epochs", "batch_size", "status", "dataset", "train_images")),
            "run_id": f"0123456789a{seed}", "spec": spec, "seed": seed, "epochs": 30 + seed, "dataset": dataset,
            "status": "interrupted", "train_images": 50_000 - seed, "started_utc": "2026-11-22T01:21:06Z",
            "backbone": ("vit_small_patch14_dinov2.lvd142m", "resnet18")[seed], "batch_size": 256 + seed,
        }
        for seed, (spec, dataset) in enumerate([(TUNED, "fashion_mnist_long_tailed"), ("byol", "digits")])
    ]  # fmt: skip
    tuned = [replace(one, spec=TUNED, against="simclr") for one in PAIR]
    options = ("temperature=", "0.123456", "weight_decay=", "0.000468]", "lambda1=", "15.9]")
    listed, compared, sentence = (
        rendered(show, width=width)
        for show in (
            lambda console: draw(console, run_table("runs", runs, of=2)),
            lambda console: print_comparisons(console, tuned),
            lambda console: print_words(console, finding(tuned)),
        )
    )
    assert all(option in text for text in (listed, compared, sentence) for option in options)
    heads = ("run", "spec", "seed", "epochs", "batch", "dataset", "images", "backbone", "when")
    assert all(head in listed.split() for head in heads)
    assert all(name in listed for name in ("vit_small_patch14_", "dinov2.lvd142m", "fashion_mnist_long_", "tailed"))


def test_listing_keeps_brackets_wraps_and_says_when_there_is_nothing() -> None:
    entries = [{"name": "dsa", "summary": "weights [lambda1] the adjustment loss " * 4}, {"name": "none"}]
    text = rendered(lambda console: print_listing(console, "regularizers", entries))
    assert "[lambda1]" in text
    assert text.splitlines()[0].split() == ["name", "summary"]
    assert rendered(lambda console: print_listing(console, "runs", [])) == "no runs yet\n"


def test_metrics_are_listed_with_formula_cost_and_source() -> None:
    entry = {"name": "cdnv", "summary": "crowding", "formula": "V / d^2", "direction": "lower", "cost": "O(N D)"}
    lines = rendered(lambda console: print_listing(console, "metrics", [entry | {"source": "2112.15121"}])).splitlines()
    assert [line.strip() for line in lines[2:4]] == ["cdnv ↓ crowding", "V / d^2; O(N D); 2112.15121"]
    assert "N samples" in " ".join(lines[4:])


def test_computing_tables_waits_for_nothing_heavy() -> None:
    code = "import dsabench.report, dsabench.report.markdown, sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"rich", "torch", "numpy", "scipy", "pandas"} & set(done.stdout.split())


def test_a_line_has_a_cell_for_every_column() -> None:
    (table,) = overview_tables(rows_of("simclr", [0, 1]))
    (section,) = table.sections
    with pytest.raises(ValueError, match="2 cells"):
        replace(table, sections=(replace(section, rows=((Arm("simclr"), 2),)),))
