"""Arms of what exists: how runs are grouped and named, what may not be mixed, and which pairs are compared."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from dsabench.errors import DataError, NothingToCompare, UsageError
from dsabench.tables.collecting import collected, with_one_name
from dsabench.tables.grouping import (
    are_single,
    check_shared,
    grouped_by_dataset,
    meant,
    named,
    pairs_of_arms,
    picked,
    unequal,
)
from dsabench.tables.rows import Row, read_csv

LIKE = replace(read_csv(Path(__file__).parent / "golden" / "results.csv")[0], status="ok", value=0.5)


def rows_of(spec: str, seeds: Sequence[int] = range(3), **changes: Any) -> list[Row]:
    method, _, regularizer = spec.partition("+")
    regularizer = regularizer or "none"
    names = ",".join(f"{key}={value}" for key, value in changes.items())
    return [
        replace(
            LIKE,
            **{"run_id": f"{spec}-{s}-{names}", "method": method, "regularizer": regularizer, "seed": s, **changes},
        )
        for s in seeds
    ]


def test_runs_are_one_arm_unless_something_sets_them_apart() -> None:
    rows = [*rows_of("simclr"), *rows_of("simclr+dsa", epochs=30), *rows_of("simclr+dsa", epochs=1, backbone="vit")]
    arms = named(rows)
    assert {name: len(own) for name, own in arms.items()} == {
        "simclr": 3,
        "simclr+dsa (resnet-small, 30 epochs)": 3,
        "simclr+dsa (vit, 1 epoch)": 3,
    }
    assert {row.spec for row in arms["simclr+dsa (vit, 1 epoch)"]} == {"simclr+dsa (vit, 1 epoch)"}
    assert arms["simclr"] == rows[:3]


def test_what_a_table_does_not_know_sets_nothing_apart() -> None:
    assert list(named([*rows_of("simclr", [0], lr=None), *rows_of("simclr", [1, 2])])) == ["simclr"]
    # Nor what each data set has of its own, such as the number of its images.
    other = rows_of("simclr", dataset="cifar10", train_images=45_000, trained_on="cifar10", image_size=32)
    assert list(named([*rows_of("simclr"), *other])) == ["simclr"]


def test_two_runs_of_one_arm_and_seed_are_refused() -> None:
    with pytest.raises(UsageError, match=r"are both simclr s0 on digits; take one of them, as in --where run_id="):
        named([*rows_of("simclr"), *rows_of("simclr", [0], device="another")])


def test_a_value_of_two_sources_stands_once_and_must_be_one() -> None:
    rows = rows_of("simclr")
    assert collected({"a.csv": rows, "b.csv": rows}) == rows
    undefined = [replace(row, value=float("nan")) for row in rows]
    assert len(collected({"a.csv": undefined, "b.csv": undefined})) == 3
    with pytest.raises(
        DataError, match=r"a\.csv and b\.csv differ: accuracy of fewshot of simclr s1, run .* is 0\.5 and 0\.6"
    ):
        collected({"a.csv": rows, "b.csv": [replace(rows[1], value=0.6)]})


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        ("dataset_sha256", "e" * 64, "dddddddddddd .* and eeeeeeeeeeee"),
        ("probe_version", "2", "1 .* and 2"),
        ("preprocess", "", ".* and not recorded"),
        ("schema_version", 2, "8 .* and 2"),
    ],
)
def test_what_makes_values_incomparable_is_refused_unless_said(column: str, value: Any, told: str) -> None:
    sources = {"a.csv": rows_of("simclr"), "runs": rows_of("byol", **{column: value})}
    with pytest.raises(DataError, match=rf"differ in {column}: {told} \(byol s0, run .*, runs\).* --mix {column}"):
        collected(sources)
    assert len(collected(sources, [column])) == 6
    # On another data set or split it may differ, and a failed run says nothing.
    assert collected({**sources, "runs": rows_of("byol", dataset="other", **{column: value})})
    assert collected({**sources, "runs": rows_of("byol", split="val", **{column: value})})
    assert collected({**sources, "runs": rows_of("byol", status="failed", value=None, **{column: value})})


def test_what_was_not_held_equal_is_told() -> None:
    arms = named([*rows_of("simclr"), *rows_of("byol", epochs=1000, lr=0.1)])
    assert unequal({"digits": arms}) == ["epochs: simclr 60; byol 1,000", "lr: simclr 0.002; byol 0.1"]
    assert unequal({"digits": named([*rows_of("simclr"), *rows_of("byol", lr=None)])}) == []
    # Names of tuned arms are short where that is clear, and many of them have a line for each value.
    tuned = [*rows_of("simclr[lr=0.1]", lr=0.1), *rows_of("simclr[lr=0.1]+dsa", lr=0.2), *rows_of("byol[x=1]", lr=0.3)]
    assert unequal({"digits": named(tuned)}) == ["lr: simclr 0.1; simclr+dsa 0.2; byol 0.3"]
    assert unequal({"digits": named([*tuned, *rows_of("byol[x=2]", lr=0.4)])}) == [
        "lr: simclr 0.1; simclr+dsa 0.2; byol[x=1] 0.3; byol[x=2] 0.4"
    ]
    many = [row for k in range(9) for row in rows_of(f"method_{k}[lr=0.{k}]", lr=0.1 + k)]
    (text,) = unequal({"digits": named(many)})
    assert text.splitlines()[:2] == ["lr:", "  method_0 0.1"]
    assert len(text.splitlines()) == 10


def test_what_was_not_held_equal_is_told_of_each_data_set_by_itself() -> None:
    rows = [
        *rows_of("simclr", [0], epochs=3, batch_size=64),
        *rows_of("simclr", [0], epochs=60, batch_size=64),
        *rows_of("simclr+dsa", [0], epochs=6),
        *rows_of("byol", [0], epochs=6),
        *(row for spec in ("simclr", "byol") for row in rows_of(spec, [0], dataset="cifar10", epochs=5)),
        *rows_of("simclr+dsa", [0], dataset="cifar10", epochs=4),
    ]
    by_dataset = grouped_by_dataset(named(rows))
    # Epochs tell runs of simclr apart, and so those of the others, of which each data set has its own.
    assert unequal(by_dataset) == [
        "epochs on digits: simclr (3 epochs) 3; simclr (60 epochs) 60; simclr+dsa (6 epochs), byol (6 epochs) 6",
        "batch size on digits: simclr (3 epochs), simclr (60 epochs) 64; simclr+dsa (6 epochs), byol (6 epochs) 256",
        "epochs on cifar10: simclr (5 epochs), byol (5 epochs) 5; simclr+dsa (4 epochs) 4",
    ]
    # What is true of several is told once.
    both = [
        *rows,
        *(replace(row, dataset="other", run_id=f"o{row.run_id}") for row in rows if row.dataset == "cifar10"),
    ]
    assert unequal(grouped_by_dataset(named(both)))[-1].startswith("epochs on cifar10, other: ")


def test_images_under_two_names_are_one_data_set() -> None:
    plain = rows_of("simclr", dataset="imagefolder", trained_on="imagefolder")
    noisy = rows_of("simclr", dataset="photos", trained_on="photos, noise=0.1")
    failed = rows_of("byol", [0], dataset="other", status="failed")
    sources, became = with_one_name(
        {"a": plain, "b": [*rows_of("byol", dataset="photos", trained_on="photos"), *noisy, *failed]}
    )
    assert became == {"photos": "imagefolder"}
    assert sources["a"] == plain
    assert [row.dataset for row in sources["b"]] == [*["imagefolder"] * 6, "other"]
    assert {row.trained_on for row in sources["b"][:3]} == {"imagefolder"}
    assert {row.trained_on for row in sources["b"][3:6]} == {"imagefolder, noise=0.1"}
    rows = rows_of("byol", dataset="photos", dataset_sha256="e" * 64)
    assert with_one_name({"a": plain, "b": rows}) == ({"a": plain, "b": rows}, {})


def test_a_regularized_arm_is_held_against_its_own_plain_method_under_its_own_conditions() -> None:
    rows = [row for epochs in (30, 60) for spec in ("simclr", "simclr+dsa") for row in rows_of(spec, epochs=epochs)]
    assert pairs_of_arms(named(rows)) == [
        ("simclr (60 epochs)", "simclr (30 epochs)"),
        ("simclr+dsa (30 epochs)", "simclr (30 epochs)"),
        ("simclr+dsa (60 epochs)", "simclr (30 epochs)"),
        ("simclr+dsa (60 epochs)", "simclr (60 epochs)"),
    ]
    tuned = [*rows_of("byol"), *rows_of("simclr", lr=0.1), *rows_of("simclr+dsa")]
    assert pairs_of_arms(named(tuned))[-1] == ("simclr+dsa", "simclr")
    # A model may be called anything.
    assert pairs_of_arms(named([*rows_of("vit:s/14"), *rows_of("my model")])) == [("my model", "vit:s/14")]


def test_arms_are_picked_in_the_order_of_their_names() -> None:
    arms = named([*rows_of("simclr"), *rows_of("byol", epochs=1), *rows_of("byol", epochs=2)])
    assert list(picked(arms, ["byol", "simclr"])) == ["byol (1 epoch)", "byol (2 epochs)", "simclr"]
    assert list(picked(arms, [])) == list(arms)
    with pytest.raises(UsageError, match="unknown arm 'byoll'; did you mean 'byol"):
        picked(arms, ["byoll"])
    with pytest.raises(NothingToCompare, match="only simclr is there"):
        picked(arms, ["simclr"])
    with pytest.raises(NothingToCompare, match="nothing is there"):
        picked({}, [])


def test_a_spec_without_options_stands_for_the_only_one_that_has_some() -> None:
    specs = ["simclr[lr=0.006]", "simclr[lr=0.006]+dsa[lambda1=2]", "byol[lr=1]", "byol[lr=2]", "swav", "swav[lr=1]"]
    names = ["simclr", "simclr+dsa", "swav", "byol[lr=1]", "swav (30 epochs)", "mine"]
    assert meant(names, specs, ["mine"]) == {
        **{name: name for name in names},
        "simclr": "simclr[lr=0.006]",
        "simclr+dsa": "simclr[lr=0.006]+dsa[lambda1=2]",
    }
    # A table's name for an arm is its own.
    assert meant(["a model (60 epochs)"], ["a model (60 epochs)"]) == {"a model (60 epochs)": "a model (60 epochs)"}
    with pytest.raises(UsageError, match=r"'byol' could be any of byol\[lr=1\], byol\[lr=2\]; name one"):
        meant(["byol"], specs)
    with pytest.raises(UsageError, match=r"unknown arm 'swaw'; did you mean 'swav'\? the arms are byol\[lr=1\], byol"):
        meant(["swaw"], specs)


def test_arms_of_one_run_each_are_single_models() -> None:
    one = named([*rows_of("simclr", [3]), *rows_of("byol", [0])])
    assert are_single(one)
    assert not are_single(named([*rows_of("simclr", [0]), *rows_of("byol", [0, 1])]))
    assert not are_single(named([*rows_of("simclr", [0]), *rows_of("byol", [0], status="failed")]))
    two = grouped_by_dataset(named([*rows_of("simclr", [0]), *rows_of("simclr", [0], dataset="other")]))
    assert {dataset: list(arms) for dataset, arms in two.items()} == {"digits": ["simclr"], "other": ["simclr"]}


def test_arms_without_a_data_set_in_common_are_refused_by_name() -> None:
    apart = grouped_by_dataset(named([*rows_of("simclr"), *rows_of("simclr+dsa"), *rows_of("pca", dataset="pca.npz")]))
    check_shared(apart)
    alone = grouped_by_dataset(named([*rows_of("simclr"), *rows_of("pca", [0], dataset="pca.npz")]))
    with pytest.raises(NothingToCompare) as caught:
        check_shared(alone)
    assert str(caught.value) == "no data set has two of the arms: simclr on digits; pca on pca.npz"
    with pytest.raises(NothingToCompare, match=r"; if the images of pca .* say --dataset digits --image-size 8$"):
        check_shared(alone, ["pca"])
    sizes = [*rows_of("simclr", image_size=8), *rows_of("byol", image_size=9)]
    several = {"digits": {"simclr": sizes}, "embeddings": {"pca": rows_of("pca", [0], dataset="embeddings")}}
    with pytest.raises(NothingToCompare, match=r"say --dataset digits$"):
        check_shared(several, ["pca"])
    # Images of one's own have no name that --dataset takes.
    own = grouped_by_dataset(named([*rows_of("simclr", dataset="photos"), *rows_of("pca", [0], dataset="embeddings")]))
    with pytest.raises(NothingToCompare, match=r"those of photos, say --dataset and --data-dir of photos"):
        check_shared(own, ["pca"])


def test_images_that_differ_are_told_in_words_with_the_flags_that_bring_them_together() -> None:
    small = rows_of("simclr", image_size=8, train_images=100)
    large = rows_of("byol", image_size=16, train_images=100, dataset_sha256="e" * 64)
    with pytest.raises(DataError) as caught:
        collected({"a": small, "b": large})
    text = str(caught.value)
    assert "differ in dataset_sha256: 8 px (simclr s0, run " in text
    assert ") and 16 px (byol s0, run " in text
    assert text.endswith(
        "; say --dataset digits --image-size 8, take those of one (--where image_size=8), or say that it may: "
        "--mix dataset_sha256"
    )
    fewer = [replace(row, train_images=50, image_size=8) for row in large]
    with pytest.raises(DataError, match=r"100 training images .* and 50 training images .* train_images=100"):
        collected({"a": small, "b": fewer})
