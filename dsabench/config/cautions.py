"""What may be asked for and is hardly meant: each in one line, before anything runs."""

from __future__ import annotations

from collections.abc import Sequence

from dsabench.config.run_config import RunConfig


def cautions(planned: Sequence[RunConfig], train_images: int, jobs: int | None, cores: int) -> list[str]:
    """Warnings about planned runs on `train_images` images, `jobs` of them side by side where that was said."""
    run, found = planned[0], []
    if run.device == "cpu" and run.threads > cores:
        found.append(f"--threads {run.threads} on {cores} cores is slower than --threads {cores}")
    larger = max(one.batch_size for one in planned)
    if larger > train_images:
        found.append(
            f"--batch-size {larger} is more than the {train_images:,} training images: each step takes them all"
        )
    if jobs is not None and jobs > len(planned):
        found.append(f"--jobs {jobs} is more than the {len(planned)} runs there are")
    elif jobs is not None and run.device == "cpu" and jobs > 1 and jobs * run.threads > cores:
        threads = "" if run.threads == 1 else f" of {run.threads} threads"
        found.append(f"--jobs {jobs}{threads} on {cores} cores: each run is slower, and all take no less time")
    return [f"warning: {one}" for one in found]
