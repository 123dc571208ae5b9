"""The measurements and tables of the research page: on tiny runs, and on rows that are made up."""

from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean, stdev
from types import SimpleNamespace

import pytest
import torch
from command import TINY, dsabench

from benchmarks import graph_scores, research_differences, research_tables, trust
from benchmarks.committed import committed
from dsabench.data import Datasets
from dsabench.report.table import Cell, Mean
from dsabench.tables.rows import Row
from dsabench.training.store import Store


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """A plain run and one with noise among its images."""
    folder = tmp_path_factory.mktemp("research")
    for more in ((), ("--contaminate", "noise=0.25")):
        assert dsabench("pretrain", "--method", "simclr", *TINY, "--runs", folder, *more).code == 0
    return Store(folder)


def test_a_contaminated_run_has_every_score(runs: Store) -> None:
    (dirty,) = (run for run in runs.runs() if run.config.data.contaminate)
    found = list(graph_scores.measure(dirty, Datasets()))
    assert {one.score for one in found} == set(research_tables.SCORES)
    assert all(0 <= one.auroc <= 1 and 2 <= one.k <= 32 and 0 <= one.together <= 1 for one in found)
    assert {(one.spec, one.trained_on) for one in found} == {("simclr", "synthetic, noise=0.25")}
    assert found == list(graph_scores.measure(dirty, Datasets()))


def test_a_run_without_replaced_images_has_none(runs: Store) -> None:
    (clean,) = (run for run in runs.runs() if not run.config.data.contaminate)
    with pytest.raises(ValueError, match="none was replaced"):
        next(graph_scores.measure(clean, Datasets()))


def test_trust_is_measured_on_the_images_of_a_run(runs: Store) -> None:
    (clean,) = (run for run in runs.runs() if not run.config.data.contaminate)
    found = trust.measure(clean.folder)
    assert (found.spec, found.epochs, found.dataset, found.images, found.image_size) == (
        "simclr",
        1,
        "synthetic",
        256,
        8,
    )
    assert 0.25 < found.same_class <= 1
    assert 2 <= found.k <= found.share * 256
    assert trust.measure(clean.folder) == found
    header, line = trust.written([found]).splitlines()
    columns = dict(zip(header.split(","), line.split(","), strict=True))
    assert (columns["run_id"], columns["communities"]) == (found.run_id, str(found.graph.communities))
    assert columns.keys() == research_tables.records("research-trust")[0].keys()


def test_ranks_agree_over_images_and_over_the_means_of_classes() -> None:
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    own = torch.tensor([1.0, 6.0, 2.0, 3.0, 4.0, 7.0])
    assert trust.rank_correlations(own, own**3, labels) == pytest.approx((1.0, 1.0))
    # Backwards within every class, and the classes, of means 3.5, 2.5 and 5.5, in their order.
    images, classes = trust.rank_correlations(own, torch.tensor([6.0, 1.0, 3.0, 2.0, 7.0, 4.0]), labels)
    assert classes == pytest.approx(1.0)
    # Ranks 1 5 2 3 4 6 against 5 1 3 2 6 4: 1 - 6 (16 + 16 + 1 + 1 + 4 + 4) / (6 * 35).
    assert images == pytest.approx(1 - 6 * 42 / 210)


def line(name: str, spec: str) -> Sequence[Cell]:
    (section,) = research_tables.development(name).sections
    return next(row for row in section.rows if row[0] == spec)


def test_a_line_has_the_means_over_the_seeds_of_its_spec() -> None:
    table = research_tables.development("research-digits")
    heads = [column.label for column in table.columns]
    assert heads[:3] == ["spec", "n", "CDNV"]
    rows = [
        row for row in committed("research-digits").rows if (row.spec, row.layer) == ("simclr+dsa-nested", "backbone")
    ]
    values = [row.value for row in rows if row.metric == "cdnv"]
    pairs = [row.similar_precision for row in rows if row.metric == "cdnv"]
    found = line("research-digits", "simclr+dsa-nested")
    assert found[1] == len(values) == 3
    for head, wanted in (("CDNV", values), ("same class among the pairs of a batch", pairs)):
        cell = found[heads.index(head)]
        assert isinstance(cell, Mean)
        known = [value for value in wanted if value is not None]
        assert (cell.value, cell.n) == (pytest.approx(fmean(known)), 3)
        assert cell.deviation == pytest.approx(stdev(known))
    assert line("research-digits", "simclr")[-1] is None
    assert [row[0] for row in research_tables.development("research-digits", ["simclr"]).sections[0].rows] == ["simclr"]


def test_what_runs_differ_in_parts_the_lines_and_a_missing_metric_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    own = [row for row in committed("research-digits").rows if row.spec == "simclr" and row.metric == "cdnv"]
    other = [replace(row, batch_size=64, seed=row.seed + 2, value=1 + (row.value or 0)) for row in own]
    monkeypatch.setattr(research_tables, "committed", lambda name: SimpleNamespace(rows=[*other, *own]))
    table = research_tables.development("made up")
    assert [column.label for column in table.columns] == ["spec", "batch", "n", "CDNV"]
    small, large = table.sections[0].rows
    assert (small[:3], large[:3]) == (("simclr", 64, 3), ("simclr", 256, 3))
    assert isinstance(small[3], Mean)
    assert isinstance(large[3], Mean)
    assert small[3].value == pytest.approx(1 + large[3].value)


def test_scores_have_a_line_for_each_spec_and_contamination(monkeypatch: pytest.MonkeyPatch) -> None:
    def record(run: str, score: str, auroc: float) -> dict[str, str]:
        own = {"run_id": run, "spec": "simclr", "trained_on": "digits, noise=0.1", "k": "8" if run == "a" else "16"}
        return {**own, "together": "0.5", "score": score, "auroc": str(auroc)}

    made = [record(run, score, 0.6 + 0.2 * (run == "b")) for run in "ab" for score in research_tables.SCORES]
    monkeypatch.setattr(research_tables, "records", lambda name: made)
    ((found,),) = (section.rows for section in research_tables.scores().sections)
    assert found[:5] == ("digits, noise=0.1", "simclr", 2, "8 to 16", Mean(0.5, 0.0, 2, "%"))
    assert [cell.value for cell in found[5:] if isinstance(cell, Mean)] == pytest.approx([0.7] * 6)


def test_differences_are_of_the_same_seeds_and_relative_where_they_are_no_shares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    some = next(row for row in committed("research-digits").rows if row.spec == "simclr" and row.metric == "cdnv")
    accuracy = replace(some, probe="knn", probe_params='{"k":20,"temperature":0.07}', metric="accuracy")

    def rows(seeds: int) -> list[Row]:
        """CDNV 2 and 1.5, accuracies that gain one to N points, and one plain seed more."""
        made = [replace(some, seed=seed, value=2.0) for seed in range(seeds + 1)]
        made += [replace(accuracy, seed=seed, value=0.5) for seed in range(seeds + 1)]
        for regularizer, layer in (("dsa", "backbone"), ("none", "adjust")):
            own = {"regularizer": regularizer, "layer": layer}
            made += [replace(some, seed=seed, value=1.5, **own) for seed in range(seeds)]  # type: ignore[arg-type]
            gains = [0.5 + (seed + 1) / 100 for seed in range(seeds)]
            made += [replace(accuracy, seed=seed, value=gain, **own) for seed, gain in enumerate(gains)]  # type: ignore[arg-type]
        return made

    wanted = {"CDNV": research_tables.METRICS["CDNV"], "kNN (k=20)": research_tables.METRICS["kNN (k=20)"]}
    monkeypatch.setattr(research_differences, "METRICS", wanted)
    # Of six seeds p is below .05 if all signs agree: the interval is that of the differences.
    for seeds, cdnv, knn in (
        (3, "-25.0 (3 of 3)", "+2.0 (3 of 3)"),
        (6, "-25.0 (-25.0 to -25.0)", "+3.5 (+1.0 to +6.0)"),
    ):
        monkeypatch.setattr(research_differences, "committed", lambda name, n=seeds: SimpleNamespace(rows=rows(n)))
        (section,) = research_differences.differences("made up").sections
        assert [line[0] for line in section.rows] == ["dsa", "adjusted", "dsa beyond adjusted"]
        for line in section.rows[:2]:
            assert line[1:] == ("simclr", "digits", 256, cdnv, knn)
        assert set(section.rows[2][4:]) == {"0 (0 of 3)" if seeds == 3 else "0 (0 to 0)"}


def test_dsa_is_held_against_its_own_method_and_what_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    some = next(row for row in committed("research-digits").rows if row.spec == "simclr" and row.metric == "cdnv")
    accuracy = replace(some, probe="knn", probe_params='{"k":20,"temperature":0.07}', metric="accuracy")
    # Of each arm: what its CDNV is, in those of simclr, and by how many points its kNN differs from theirs.
    made = {
        ("simclr[lr=0.1]", "none", "backbone"): (1.0, 0),
        ("simclr[lr=0.1]", "none", "adjust"): (0.8, 2),
        ("simclr[epochs=34,lr=0.1]", "none", "backbone"): (0.9, 3),
        ("simclr[lr=0.2]", "koleo[weight=2]", "backbone"): (2.0, 5),
        ("simclr[lr=0.3]", "dsa[spread=0.1]", "backbone"): (0.5, 3),
        ("simclr[lr=0.3]", "dsa[spread=0.1]", "smooth[k=20]"): (0.1, 9),
        ("simclr[epochs=34,lr=0.1]", "none", "adjust"): (0.2, 9),
        ("resa", "none", "smooth[k=20]"): (0.2, 9),
        ("byol", "none", "backbone"): (5.0, -9),
        ("byol", "none", "adjust"): (3.5, -3),
        ("byol", "dsa", "backbone"): (4.0, -1),
        ("resa", "none", "backbone"): (0.4, -2),
    }
    rows = []
    for (method, regularizer, layer), (factor, points) in made.items():
        arm = {"method": method, "regularizer": regularizer, "layer": layer}
        for seed in range(6):
            rows.append(replace(some, seed=seed, value=factor * (seed + 1), **arm))  # type: ignore[arg-type]
            rows.append(replace(accuracy, seed=seed, value=0.5 + points / 100 + seed / 10, **arm))  # type: ignore[arg-type]
    wanted = {"CDNV": research_tables.METRICS["CDNV"], "kNN (k=20)": research_tables.METRICS["kNN (k=20)"]}
    monkeypatch.setattr(research_differences, "committed", lambda name: SimpleNamespace(rows=rows))
    monkeypatch.setattr(research_differences, "METRICS", wanted)
    monkeypatch.setattr(research_differences, "GAINED", ["kNN (k=20)"])
    (section,) = research_differences.controls("made up").sections
    found = [(*line[:3], str(line[4]).split(" (")[0], str(line[5]).split(" (")[0], line[6]) for line in section.rows]
    assert {line[3] for line in section.rows} == {"digits"}
    dsa = "simclr[lr=0.3]+dsa[spread=0.1]"
    assert found == [
        (dsa, "simclr[lr=0.1]", "backbone", "-50.0", "+3.0", "yes"),
        (dsa, "simclr[lr=0.1]", "adjust", "-37.5", "+1.0", "yes"),
        (dsa, "simclr[epochs=34,lr=0.1]", "backbone", "-44.4", "0", "no"),
        (dsa, "simclr[lr=0.2]+koleo[weight=2]", "backbone", "-75.0", "-2.0", "no"),
        (dsa, "resa", "backbone", "+25.0", "+5.0", "yes"),
        ("byol+dsa", "byol", "backbone", "-20.0", "+8.0", "yes"),
        ("byol+dsa", "byol", "adjust", "+14.3", "+2.0", "yes"),
        ("byol+dsa", "resa", "backbone", "+900.0", "+1.0", "yes"),
    ]
    (section,) = research_differences.in_short("made up").sections
    assert [(*line[:3], line[3].value) for line in section.rows if isinstance(line[3], Mean)] == [
        ("digits", "simclr", 6, 3.5),
        ("digits", "simclr, adjusted", 6, pytest.approx(2.8)),
        ("digits", "simclr+dsa", 6, 1.75),
        ("digits", "byol", 6, 17.5),
        ("digits", "byol, adjusted", 6, 12.25),
        ("digits", "byol+dsa", 6, 14.0),
    ]


def test_what_gains_loses_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    some = next(row for row in committed("research-digits").rows if row.spec == "simclr" and row.metric == "cdnv")
    few = {"probe": "fewshot", "metric": "accuracy"}
    options = '{"classifier":"centroid","shots":%d}'
    kinds = {
        "one": replace(some, probe_params=options % 1, **few),  # type: ignore[arg-type]
        "five": replace(some, probe_params=options % 5, **few),  # type: ignore[arg-type]
        "knn": replace(some, probe="knn", probe_params='{"k":20,"temperature":0.07}', metric="accuracy"),
    }

    def arm(seeds: int = 6, **points: float) -> list[Row]:
        """Accuracies of so many seeds, so many points above a half."""
        return [
            replace(kind, seed=seed, value=0.5 + points.get(name, 0.0) / 100)
            for name, kind in kinds.items()
            for seed in range(seeds)
        ]

    def gains(seeds: int = 6, **points: float) -> str:
        return research_differences.gains(arm(seeds, **points), arm(seeds))

    assert gains(knn=1.0) == "yes"
    assert gains(five=0.1, knn=-0.9) == "yes"
    assert gains() == "no"
    assert gains(knn=5.0, one=-1.1) == "no"
    # Of which there is no interval.
    assert gains(seeds=5, knn=1.0) == "too few seeds"
