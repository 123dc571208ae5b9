"""Where the numbers came from, the command to make them again, and what they do not say."""

from __future__ import annotations

import shlex
from collections import Counter

from dsabench.data import DATASETS
from dsabench.report.page.blocks import Block, Command, Grid, Listing, Section, Words
from dsabench.report.page.material import Material
from dsabench.report.table import Column, Table
from dsabench.report.table import Section as Lines
from dsabench.report.wording import counted

_COLUMNS = {
    "dsabench_version": "dsabench",
    "git_sha": "commit",
    "git_dirty": "uncommitted changes",
    "torch_version": "torch",
    "device": "trained on device",
    "n_devices": "devices",
    "eval_device": "evaluated on",
    "capability": "processor",
    "blas": "BLAS",
    "threads": "threads",
    "precision": "precision",
    "deterministic": "deterministic",
    "augment": "views drawn",
    "dataset": "data set",
    "dataset_sha256": "SHA-256 of the data",
    "trained_on": "trained on",
    "train_images": "training images",
    "n": "images scored",
    "image_size": "image side, px",
    "backbone": "backbone",
    "batch_size": "batch",
    "epochs": "epochs",
    "prior": "prior of the similarity",
    "probe_version": "version of the probes",
    "schema_version": "schema of the table",
}


def provenance(material: Material, deviations: list[str] | None) -> Section:
    """Versions, hardware, data, the command, deviations (None where the store was not given), and limits in words."""
    blocks: list[Block] = [Grid(_facts(material)), Words("The command that makes these numbers again:")]
    blocks += [Command(command(material)), Words("Deviations from what was declared before it ran:")]
    unknown = ["not known here: what was declared lies beside the runs, see --from RUNS"]
    words = unknown if deviations is None else deviations or ["none"]
    blocks += [Listing(tuple(words)), Words("What these numbers do not say:"), Listing(tuple(limits(material)))]
    return Section(f"{material.name}-provenance", "Provenance and limits", tuple(blocks))


def _facts(material: Material) -> Table:
    lines = []
    runs = {row.run_id: row for row in material.rows}
    for column, title in _COLUMNS.items():
        counts = Counter(value for row in runs.values() if (value := getattr(row, column)) not in (None, ""))
        several = len(counts) > 1
        told = [_text(value) + (f" ({counted(n, 'run')})" if several else "") for value, n in counts.items()]
        if told:
            lines.append((title, "; ".join(told[:12]) + (f"; {len(told) - 12} more" if len(told) > 12 else "")))
    started = sorted(row.started_utc for row in runs.values() if row.started_utc)
    if started:
        lines.append(("started (UTC)", started[0] if started[0] == started[-1] else f"{started[0]} to {started[-1]}"))
    if material.sha256:
        lines.append(("SHA-256 of the table", material.sha256))
    return Table(
        f"{counted(len(runs), 'run')} of {counted(len(material.specs), 'arm')}",
        (Column("what", "name"), Column("here", "text")),
        (Lines(tuple(lines)),),
    )


def _text(value: object) -> str:
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)


def command(material: Material) -> str:
    """A `dsabench compare` of the same arms, seeds and data, as far as the rows tell."""
    row = material.rows[0]
    seeds = material.seeds
    whole = len(seeds) > 1 and seeds == tuple(range(seeds[0], seeds[-1] + 1))
    words = ["dsabench", "compare", *material.specs]
    words += ["--seeds", f"{seeds[0]}-{seeds[-1]}" if whole else ",".join(map(str, seeds))]
    if row.dataset in DATASETS:
        words += ["--dataset", row.dataset]
    else:
        words += ["--dataset", "imagefolder", "--data-name", row.dataset, "--data-dir", "FOLDER"]
    for column in ("backbone", "epochs", "batch_size"):
        known = {getattr(one, column) for one in material.rows if one.method != "random"} - {None, 0}
        if len(known) == 1:
            words += [f"--{column.replace('_', '-')}", str(known.pop())]
    words += ["--primary", str(material.criteria.primary)]
    for guard in material.criteria.guards:
        words += ["--guard", str(guard.choice)]
    margins = {guard.margin for guard in material.criteria.guards}
    words += [word for margin in sorted(margins)[:1] for word in ("--margin", f"{margin:g}")]
    return shlex.join([*words, "--smallest-effect", f"{material.criteria.smallest_effect:g}"])


def limits(material: Material) -> list[str]:
    """What a reader must not conclude, from what these rows are."""
    sets = list(dict.fromkeys(row.dataset for row in material.rows))
    lines = [
        f"Measured on {', '.join(sets)} alone: other data, backbones and lengths of training may say otherwise.",
        "Intervals are over seeds of training on one split of the data; the exact test assumes that paired differences "
        "are symmetric.",
        "CDNV and other crowding metrics can be bought without better features, by averaging with neighbours for one: "
        "that is what the guards are for.",
    ]
    tunings = {row.tuning for row in material.rows}
    if tunings <= {"", "defaults"}:
        lines.append("Every arm ran at its defaults: equally tuned arms may rank otherwise.")
    elif len(tunings) > 1:
        lines.append("The arms' options were chosen in different ways; compare only those that were chosen alike.")
    labelled = list(dict.fromkeys(row.spec for row in material.rows if row.labels_used != "none"))
    if labelled:
        lines.append(f"Not self-supervised, for labels reached them: {', '.join(labelled)}.")
    if len(material.seeds) < 6:
        lines.append(f"With {counted(len(material.seeds), 'seed')} no paired test can reach p < .05.")
    lines.append("Maps of two dimensions (t-SNE, UMAP) keep neighbourhoods, neither distances nor densities.")
    return lines
