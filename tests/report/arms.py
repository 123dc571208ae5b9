"""Made-up rows and comparisons of a few arms, for whoever tests what is told of them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from dsabench.files import canonical_json
from dsabench.stats import Comparison, MetricKey
from dsabench.tables.rows import SCHEMA_VERSION, Row

LINEAR = '{"C":[0.1,1.0],"select":"val_accuracy","standardise":true}'
MEASURED: list[tuple[str, str, str, float, float, bool | None]] = [
    ("crowding", "{}", "cdnv", 0.168, 0.004, False),
    ("crowding", "{}", "silhouette", 0.432, 0.01, True),
    ("crowding", "{}", "inter_class_separation", 1.21, 0.03, True),
    ("crowding", "{}", "rankme", 23.4, 0.8, None),
    ("crowding", "{}", "feature_std", 0.0432, 0.0004, None),
    ("knn", '{"k":20,"temperature":0.07}', "accuracy", 0.982, 0.002, True),
    ("knn5", '{"k":5,"metric":"euclidean"}', "accuracy", 0.978, 0.002, True),
    ("linear", LINEAR, "accuracy", 0.988, 0.001, True),
    ("linear", LINEAR, "chosen_C", 0.1, 0.0, None),
]
MEASURED += [
    ("fewshot", canonical_json({"classifier": name, "shots": shots}), "accuracy", 0.9 + shots / 200, 0.01, True)
    for shots in (1, 5, 10)
    for name in ("centroid", "logistic")
]


def row(spec: str, seed: int, **changes: Any) -> Row:
    method, _, regularizer = spec.partition("+")
    plain = Row(
        schema_version=SCHEMA_VERSION, run_id=f"{spec}-{seed}", method=method, regularizer=regularizer or "none",
        backbone="resnet", seed=seed, dataset="digits", dataset_sha256="", split="test", n=359, layer="backbone",
        probe="crowding", probe_version="1", probe_params="{}", metric="cdnv", value=0.1, higher_is_better=False,
        status="ok", epochs=60, images_seen=77_580, wall_s=61.2, images_per_s=None, peak_mem_mb=None, config_hash="",
        git_sha="", git_dirty=None, dsabench_version="", torch_version="", device="cpu", n_devices=1, precision="32",
        threads=1, deterministic=True, augment="batched", prior="none",
        labels_used="training" if method == "supervised" else "none", started_utc="",
    )  # fmt: skip
    return replace(plain, **changes)


def rows_of(spec: str, seeds: Sequence[int]) -> list[Row]:
    """Rows whose values lie evenly around a mean that +dsa moves the better way."""
    rows = []
    for seed in seeds:
        for probe, params, metric, mean, step, better in MEASURED:
            gain = 0.0 if better is None or "+" not in spec else 5 * step * (1 if better else -1)
            value = mean + gain + step * (seed - (len(seeds) - 1) / 2)
            names = {"probe": probe, "probe_params": params, "metric": metric}
            wall_s = 96.4 if "+" in spec else 61.2
            rows.append(row(spec, seed, value=value, higher_is_better=better, wall_s=wall_s, **names))
    return rows


def failed(spec: str, seed: int) -> Row:
    nothing = {"layer": "", "probe": "", "probe_params": "", "metric": "", "split": ""}
    return row(spec, seed, status="failed", value=None, higher_is_better=None, n=None, wall_s=None, **nothing)


def compared(
    metric: int = 0, *, role: str = "secondary", verdict: str = "no difference shown", **changes: Any
) -> Comparison:
    probe, params, name, mean, step, better = MEASURED[metric]
    shift = 5 * step * (-1 if better is False else 1)
    plain = Comparison(
        spec="simclr+dsa", against="simclr", key=MetricKey("backbone", probe, params, name), role=role,
        higher_is_better=better, n_seeds=6, mean_against=mean, std_against=step, mean=mean + shift, std=step,
        difference=shift, low=shift - 2 * step, high=shift + 3 * step, t_low=shift - step, t_high=shift + step,
        p=0.03125, p_holm=0.4375 if role == "secondary" else None, can_reach_05=role == "primary",
        gap_closed=0.38 if role == "primary" else None, verdict=verdict,
    )  # fmt: skip
    return replace(plain, **changes)


PRIMARY = compared(
    role="primary", verdict="better", mean_against=0.168, mean=0.117, difference=-0.051, low=-0.062, high=-0.040
)
PAIR = [
    *(compared(place, role="descriptive" if MEASURED[place][5] is None else "secondary",
               verdict="" if MEASURED[place][5] is None else "cannot reach .05 with 6 seeds")
      for place in range(1, len(MEASURED))),
    PRIMARY,
]  # fmt: skip


def overview_rows() -> list[Row]:
    specs = ["random", "simclr", "simclr+dsa", "byol", "byol+dsa", "barlow_twins", "barlow_twins+dsa", "supervised"]
    rows = [entry for spec in specs for entry in rows_of(spec, range(4) if spec == "byol+dsa" else range(6))]
    return [*rows, failed("byol+dsa", 4), failed("byol+dsa", 5), failed("vicreg", 0)]
