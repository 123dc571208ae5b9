"""What may be asked for and is hardly meant: each in one line, before anything runs."""

from __future__ import annotations

import math
from collections.abc import Sequence

from dsabench.config.eval_config import ADJUST
from dsabench.config.run_config import RunConfig
from dsabench.config.spec import Part
from dsabench.data.loader import steps_per_epoch

FEW_STEPS = 20
"""A regularizer that acts in fewer steps than this cannot show what it does."""

# What `dsa` reads where it draws or pushes, and nowhere else.
OF_DRAWING = ("start", "reach", "k", "part", "pulls", "trust")


def cautions(
    planned: Sequence[RunConfig], train_images: int, jobs: int | None, cores: int, *, colour: bool = False
) -> list[str]:
    """Warnings about planned runs on `train_images` images, `jobs` of them side by side where that was said; `colour`
    is whether those images of one's own have any."""
    run, found = planned[0], []
    if run.device == "cpu" and run.threads > cores:
        found.append(f"--threads {run.threads} on {cores} cores is slower than --threads {cores}")
    larger = max(one.batch_size for one in planned)
    if larger > train_images:
        found.append(
            f"--batch-size {larger} is more than the {train_images:,} training images: each step takes them all"
        )
    found += dict.fromkeys(filter(None, (late_start(one, train_images) for one in planned)))
    found += dict.fromkeys(filter(None, map(undrawn, planned)))
    if colour and (arms := dict.fromkeys(str(one.spec) for one in planned if without_colours(one))):
        found.append(
            f"the images have colours, and the views of {', '.join(arms)} are those for digits (no flips, no colours), "
            "the default below 32 px; for most colour images: --set method.views=asymmetric"
        )
    if jobs is not None and jobs > len(planned):
        found.append(f"--jobs {jobs} is more than the {len(planned)} runs there are")
    elif jobs is not None and run.device == "cpu" and jobs > 1 and jobs * run.threads > cores:
        threads = "" if run.threads == 1 else f" of {run.threads} threads"
        found.append(f"--jobs {jobs}{threads} on {cores} cores: each run is slower, and all take no less time")
    return [f"warning: {one}" for one in found]


def adjusted_beside_others(planned: Sequence[RunConfig], layers: Sequence[Part]) -> str:
    """What to say where some arms alone end with an adjustment that all could have; nothing where all are shown so."""
    # Of dsa-nested the option is a word, and another thing.
    adjusted = dict.fromkeys(str(one.spec) for one in planned if one.resolved.regularizer.get("adjust") is True)
    if not adjusted or all(str(one.spec) in adjusted for one in planned):
        return ""
    if any(layer.name == ADJUST for layer in layers):
        return ""
    return (
        f"the features of {', '.join(adjusted)} are adjusted in the end, which needs no training: "
        "--layer backbone --layer adjust shows those of the others adjusted, too"
    )


def without_colours(run: RunConfig) -> bool:
    """Whether a run trains on the views for digits because nothing else was said."""
    return run.epochs > 0 and run.resolved.views == "digits" and "views" not in run.spec.method.options


def undrawn(run: RunConfig) -> str:
    """What to say of options that say whom to draw, and how, where nobody is drawn; nothing elsewhere."""
    said = [name for name in OF_DRAWING if name in run.spec.regularizer.options]
    options = run.resolved.regularizer
    if not said or any(options.get(name, 1) for name in ("weight", "push")):
        return ""
    return f"{run.spec.regularizer} draws nobody: without weight or push, {', '.join(said)} changes nothing"


def late_start(run: RunConfig, train_images: int) -> str:
    """What to say of a regularizer that waits for its share of the steps and then has hardly any; else nothing."""
    options = run.resolved.regularizer
    start = options.get("start")
    # A dsa that draws nobody has nothing that waits.
    if not isinstance(start, int | float) or not (options.get("weight", 1) or options.get("push")):
        return ""
    total = run.epochs * steps_per_epoch(train_images, run.batch_size)
    first = math.ceil(start * total)
    if not total or total - first >= FEW_STEPS:
        return ""
    name = run.spec.regularizer.name
    if first == total:
        return f"{name} starts after the last of {total} steps: it does nothing; see --epochs and regularizer.start"
    return (
        f"{name} starts at step {first + 1} of {total}: it acts in {total - first} of them, too few to show what it "
        "does; see --epochs"
    )
