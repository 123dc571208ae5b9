import io
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from dsabench.progress import ProgressDisplay, Update, duration, make_console


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(autouse=True)
def _ordinary_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def console(*, terminal: bool = False) -> Console:
    return Console(file=io.StringIO(), width=80, force_terminal=terminal, color_system=None)


def written(to: Console) -> str:
    assert isinstance(to.file, io.StringIO)
    return to.file.getvalue()


def bars(show: ProgressDisplay) -> list[str]:
    """The lines that the display draws, without a terminal's movements of the cursor."""
    assert show._bars is not None
    to = console()
    to.print(show._bars._progress.get_renderable())
    return written(to).splitlines()


def test_plain_lines_come_every_30_seconds_and_at_each_end() -> None:
    clock, to = Clock(), console()
    with ProgressDisplay(to, 3, clock=clock) as show:
        show(Update("simclr s0", "reused", 0, 0))
        show(Update("simclr[temperature=0.2]+dsa s3", "waiting", 0, 200))
        for done in range(100, 201, 5):
            show(Update("simclr[temperature=0.2]+dsa s3", "training", done, 200, 4.214, 5400.2))
            clock.now += 10
        show(Update("simclr[temperature=0.2]+dsa s3", "evaluating", 200, 200))
        show(Update("simclr[temperature=0.2]+dsa s3", "finished", 200, 200))
        show(Update("simclr[temperature=0.2]+dsa s3", "training", 1, 200))
        show(Update("byol s0", "training", 30, 200))
        show(Update("byol s0", "failed", 0, 1))
    lines = written(to).splitlines()
    assert lines[:4] == [
        "[1/3 runs] simclr s0: reused",
        "[1/3 runs] simclr[temperature=0.2]+dsa s3: 50%, loss 4.21, 5,400 images/s",
        "[1/3 runs] simclr[temperature=0.2]+dsa s3: 57%, loss 4.21, 5,400 images/s, about 3 min left; "
        "all runs: about 10 min left",
        "[1/3 runs] simclr[temperature=0.2]+dsa s3: 65%, loss 4.21, 5,400 images/s, about 2 min left; "
        "all runs: about 9 min left",
    ]
    assert lines[-3:] == [
        "[1/3 runs] simclr[temperature=0.2]+dsa s3: evaluating; all runs: about 7 min left",
        "[2/3 runs] simclr[temperature=0.2]+dsa s3: finished after 4 min",
        "[3/3 runs] byol s0: failed at 15%",
    ]
    assert len(lines) == 11
    assert "\x1b" not in written(to)


def test_plain_lines_say_how_many_more_are_under_way() -> None:
    clock, to = Clock(), console()
    with ProgressDisplay(to, 2, clock=clock) as show:
        show(Update("simclr s0", "training", 0, 0))
        clock.now += 31
        show(Update("simclr s1", "training", 50, 100, float("nan")))
        show(Update("simclr s1", "interrupted", 50, 100))
    assert written(to).splitlines() == [
        "[0/2 runs] simclr s0: 0%",
        "[0/2 runs] simclr s1: 50%, loss nan (1 more under way)",
        "[1/2 runs] simclr s1: interrupted at 50%",
    ]


def test_bars_show_every_active_run_within_80_columns_and_keep_failures() -> None:
    clock, to = Clock(), console(terminal=True)
    with ProgressDisplay(to, 12, clock=clock) as show:
        show(Update("simclr[temperature=0.2]+dsa[lambda1=5] s3", "training", 20, 100, 4.214, 15400.2))
        show(Update("barlow_twins+dsa s4", "evaluating", 100, 100))
        clock.now += 10
        show(Update("simclr[temperature=0.2]+dsa[lambda1=5] s3", "training", 40, 100, 4.214, 15400.2))
        lines = bars(show)
        show(Update("byol s0", "training", 30, 100))
        show(Update("byol s0", "failed", 0, 1))
        show(Update("barlow_twins+dsa s4", "finished", 100, 100))
        later = bars(show)
    names = ["all runs ", "simclr[temp..mbda1=5] s3 ", "barlow_twins+dsa s4 "]
    assert all(line.startswith(name) for line, name in zip(lines, names, strict=True))
    assert "0 of 12 done" in lines[0]
    # The run that was there already tells nothing of how long the others take: 10 s for a fifth, two at once.
    assert lines[0].rstrip().endswith("left")
    assert lines[1].rstrip().endswith("30 s left")
    assert " 40% loss 4.21, 15,400 images/s" in lines[1]
    assert "100% evaluating" in lines[2]
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(name) for line, name in zip(later, names[:2], strict=True))
    assert "2 of 12 done, 1 failed" in later[0]
    assert "[1/12 runs] byol s0: failed at 30%" in written(to)


@pytest.mark.parametrize("terminal", [False, True])
def test_quiet_prints_nothing(terminal: bool) -> None:
    to = console(terminal=terminal)
    with ProgressDisplay(to, 1, quiet=True) as show:
        show(Update("simclr s0", "training", 1, 2))
        show(Update("simclr s0", "failed", 1, 2))
    assert written(to) == ""


@pytest.mark.parametrize("terminal", [False, True])
def test_updates_from_many_threads_are_all_counted(terminal: bool) -> None:
    to = console(terminal=terminal)

    def work(run: str) -> None:
        for done in range(50):
            show(Update(run, "training", done, 50))
        show(Update(run, "finished", 50, 50))

    with ProgressDisplay(to, 8, clock=Clock()) as show:
        threads = [threading.Thread(target=work, args=(f"simclr s{seed}",)) for seed in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert ("8 of 8 done" if terminal else "[8/8 runs]") in written(to)
    if not terminal:
        assert sum("finished" in line for line in written(to).splitlines()) == 8


@pytest.mark.parametrize(
    "environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}, {"CI": "true"}, {"NO_COLOR": "1", "FORCE_COLOR": "1"}]
)
def test_console_is_plain_where_the_environment_asks(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    for name in ("NO_COLOR", "CI", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    assert make_console(stderr=True).is_terminal
    assert make_console(stderr=True, environ={"NO_COLOR": "", "CI": "false", "TERM": "xterm"}).is_terminal
    assert not make_console(stderr=True, no_color=True).is_terminal
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    plain = make_console(stderr=True)
    assert plain.stderr
    assert not plain.is_terminal
    assert plain.color_system is None


def test_updates_need_no_rich() -> None:
    code = "import sys; from dsabench.progress import Update, ProgressDisplay; sys.exit('rich' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_duration() -> None:
    texts = [duration(seconds) for seconds in (0.4, 40, 89, 120, 5000, 9000, 200_000)]
    assert texts == ["0 s", "40 s", "89 s", "2 min", "83 min", "2.5 h", "2.3 days"]


def test_a_single_run_has_one_bar() -> None:
    clock = Clock()
    with ProgressDisplay(console(terminal=True), 1, clock=clock) as show:
        (line,) = bars(show)
        assert line.startswith("the run ")
        show(Update("simclr s0", "training", 50, 200, 4.2, 900.0))
        clock.now += 10
        show(Update("simclr s0", "training", 100, 200, 4.1, 900.0))
        (line,) = bars(show)
        assert line.startswith("simclr s0 ")
        assert " 50% " in line
        show(Update("simclr s0", "finished", 200, 200))
        (line,) = bars(show)
        assert "1 of 1 done" in line
