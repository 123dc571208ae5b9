"""What a person sees while runs are under way: bars on a terminal, else one plain line now and then."""

from __future__ import annotations

import math
import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Literal, NamedTuple

from dsabench.pace import Pace

if TYPE_CHECKING:
    # Whoever reports an Update need not wait for rich, nor have a console.
    from rich.console import Console
    from rich.progress import TaskID

State = Literal["waiting", "training", "evaluating", "finished", "reused", "failed", "interrupted"]
_ENDED = frozenset({"finished", "reused", "failed", "interrupted"})
LINE_EVERY_S = 30.0
# A line end, and what a terminal takes as the end of hiding its cursor (DECTCEM).
SHOW_CURSOR = b"\r\n\x1b[?25h"


class Update(NamedTuple):
    """Where a run stands: its label (`simclr+dsa s3`), steps done of `total`, the last loss and training speed."""

    run: str
    state: State
    done: int
    total: int
    loss: float | None = None
    images_per_s: float | None = None


def make_console(*, stderr: bool, no_color: bool = False, environ: Mapping[str, str] = os.environ) -> Console:
    """A console without markup; plain, as if piped, under `no_color`, NO_COLOR, TERM=dumb or CI."""
    from rich.console import Console

    in_ci = environ.get("CI", "").lower() not in ("", "0", "false")
    plain = no_color or bool(environ.get("NO_COLOR")) or environ.get("TERM") == "dumb" or in_ci
    return Console(
        stderr=stderr,
        no_color=plain or None,
        force_terminal=False if plain else None,
        force_interactive=False if plain else None,
        markup=False,
        emoji=False,
        highlight=False,
    )


class ProgressDisplay:
    """Shows the updates of `total_runs` runs; call it with each, from any thread, inside its `with` block.

    On a terminal: a bar for all runs and one for each under way. Elsewhere: a line when a run ends, and in between one
    every 30 s at most. `clock` gives seconds and never goes back.
    """

    def __init__(
        self, console: Console, total_runs: int, *, quiet: bool = False, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._console = console
        self._total_runs = total_runs
        self._quiet = quiet
        self._clock = clock
        # Reentrant, since a signal handler may report from within a call.
        self._lock = threading.RLock()
        self._active: dict[str, Update] = {}
        self._began: dict[str, tuple[float, int]] = {}
        self._ended: dict[str, State] = {}
        self._pace = Pace(total_runs)
        self._next_line = -math.inf
        self._bars: _Bars | None = None

    def __enter__(self) -> ProgressDisplay:
        if self._console.is_terminal and not self._console.is_dumb_terminal and not self._quiet:
            self._bars = _Bars(self._console, self._total_runs, self._clock)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bars is not None:
            self._bars.close()

    def give_back(self) -> None:
        """Leave the terminal with its cursor, on a line of its own; for a process that ends with the next instruction.

        Takes no lock, since a signal handler may call it.
        """
        if self._bars is not None:
            os.write(self._console.file.fileno(), SHOW_CURSOR)

    def __call__(self, update: Update) -> None:
        """Take note of an update and show it where that is due; nothing happens for one that comes after the end."""
        with self._lock:
            if self._quiet or update.run in self._ended or update.state == "waiting":
                return
            self._began.setdefault(update.run, (self._clock(), update.done))
            if update.state in _ENDED:
                self._ended[update.run] = update.state
                # Whoever reports a failure may not know how far the run had come.
                known = self._active.pop(update.run, update)
                update = update._replace(done=known.done, total=known.total)
            else:
                self._active[update.run] = update
            training = update.state == "training"
            self._pace.note(update.run, _share(update), self._clock(), training=training, active=len(self._active))
            if self._bars is None:
                self._print_line(update)
            else:
                left = {update.run: self._left(update), None: self._overall()}
                self._bars.show(update, self._active.values(), list(self._ended.values()), left)
                if update.state in ("failed", "interrupted"):
                    self._print(update, self._ending(update))

    def _print_line(self, update: Update) -> None:
        if update.state in _ENDED:
            self._print(update, self._ending(update))
        elif self._clock() >= self._next_line:
            self._next_line = self._clock() + LINE_EVERY_S
            others = len(self._active) - 1
            words = self._standing(update) + (f" ({others} more under way)" if others else "")
            overall = self._overall() if self._total_runs > 1 else None
            self._print(update, words + (f"; all runs: about {duration(overall)} left" if overall else ""))

    def _print(self, update: Update, words: str) -> None:
        count = f"[{len(self._ended)}/{self._total_runs} runs]"
        self._console.print(
            f"{count} {update.run}: {words}", markup=False, highlight=False, emoji=False, soft_wrap=True
        )

    def _standing(self, update: Update) -> str:
        if update.state == "evaluating":
            return "evaluating"
        parts, left = [f"{_share(update):.0%}", *_measured(update)], self._left(update)
        return ", ".join([*parts, f"about {duration(left)} left"] if left else parts)

    def _overall(self) -> float | None:
        """Seconds until all runs have ended; None where that is not known."""
        return self._pace.left([_share(update) for update in self._active.values()], len(self._ended))

    def _left(self, update: Update) -> float | None:
        """Seconds until a run is trained, by its own steps so far; None where that is not known."""
        began, first = self._began[update.run]
        elapsed, steps = self._clock() - began, update.done - first
        if elapsed <= 0 or steps <= 0 or update.done >= update.total:
            return None
        return elapsed * (update.total - update.done) / steps

    def _ending(self, update: Update) -> str:
        elapsed = self._clock() - self._began[update.run][0]
        where = f" at {_share(update):.0%}" if update.state in ("failed", "interrupted") else ""
        return f"{update.state}{where}" + (f" after {duration(elapsed)}" if elapsed > 0 else "")


class _Bars:
    """The bars on a terminal: one for all runs, then one for each run under way; of a single run its own alone."""

    def __init__(self, console: Console, total_runs: int, clock: Callable[[], float]) -> None:
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        fixed = Column(no_wrap=True, overflow="crop")
        self._progress = Progress(
            TextColumn("{task.description}", markup=False, table_column=fixed),
            BarColumn(bar_width=12),
            TextColumn("{task.percentage:>3.0f}%", markup=False, table_column=fixed),
            TextColumn("{task.fields[note]}", markup=False, table_column=fixed),
            TextColumn("{task.fields[left]}", markup=False, table_column=fixed),
            console=console,
            refresh_per_second=4,
            get_time=clock,
        )
        self._total_runs = total_runs
        self._overall = self._progress.add_task(
            "all runs" if total_runs > 1 else "the run", total=total_runs, note=f"0 of {total_runs} done", left=""
        )
        self._tasks: dict[str, TaskID] = {}
        self._progress.start()

    def show(
        self, update: Update, active: Iterable[Update], ended: Sequence[State], left: Mapping[str | None, float | None]
    ) -> None:
        """Draw one run's update and the state of them all; the bar of a run that has ended is taken away.

        `left` are the seconds that this run and, under None, all of them still take, as far as that is known.
        """
        if update.state in _ENDED:
            if update.run in self._tasks:
                self._progress.remove_task(self._tasks.pop(update.run))
        else:
            if update.run not in self._tasks:
                self._tasks[update.run] = self._progress.add_task(_shortened(update.run), total=None, note="", left="")
            note = "evaluating" if update.state == "evaluating" else ", ".join(_measured(update))
            self._progress.update(
                self._tasks[update.run],
                completed=update.done,
                total=update.total,
                note=note,
                left=_left(left[update.run]),
            )
        n_failed = ended.count("failed")
        note = f"{len(ended)} of {self._total_runs} done" + (f", {n_failed} failed" if n_failed else "")
        self._progress.update(
            self._overall,
            completed=len(ended) + sum(map(_share, active)),
            note=note,
            left=_left(left[None]),
            # Of a single run it would say everything twice.
            visible=self._total_runs > 1 or not self._tasks,
        )

    def close(self) -> None:
        """Leave the bar of all runs as it stands, and give the terminal back."""
        for task in self._tasks.values():
            self._progress.remove_task(task)
        self._progress.update(self._overall, visible=True)
        self._progress.stop()


def _share(update: Update) -> float:
    return min(1.0, update.done / update.total) if update.total > 0 else 0.0


def _measured(update: Update) -> list[str]:
    loss = [] if update.loss is None else [f"loss {update.loss:.3g}"]
    return loss if update.images_per_s is None else [*loss, f"{update.images_per_s:,.0f} images/s"]


def _left(seconds: float | None) -> str:
    return "" if seconds is None else f"{duration(seconds)} left"


def _shortened(run: str) -> str:
    """A label cut in the middle: its ends, the method and the seed, tell runs apart."""
    return run if len(run) <= 24 else f"{run[:11]}..{run[-11:]}"


def duration(seconds: float) -> str:
    """A length of time in about two digits: `40 s`, `12 min`, `3.5 h`, `2.1 days`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return f"{seconds / 3600:.1f} h" if seconds < 36 * 3600 else f"{seconds / 86400:.1f} days"
