"""Ctrl-C in a real terminal: the first saves, the second ends at once, and either gives the terminal back."""

import fcntl
import os
import pty
import select
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest
from command import TINY

HIDE, SHOW = b"\x1b[?25l", b"\x1b[?25h"
# A save that takes for ever, after which the loop would have ended.
STUCK = (
    "import time, dsabench.training.loop as loop\n"
    "loop.save = lambda *_, **__: print('saving', flush=True) or time.sleep(99)"
)


def read_until(terminal: int, mark: bytes, seen: bytes = b"", patience: float = 120) -> bytes:
    """What a terminal shows up to and with a mark, or to its end."""
    end = time.monotonic() + patience
    while mark not in seen:
        assert time.monotonic() < end, seen
        if not select.select((terminal,), (), (), 1)[0]:
            continue
        try:
            news = os.read(terminal, 65536)
        except OSError:
            # Linux says so where the other end was closed.
            return seen
        if not news:
            return seen
        seen += news
    return seen


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_gives_the_cursor_back_on_a_clean_line(presses: int, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    before = STUCK if presses == 2 else ""
    code = f"import sys\nfrom dsabench.cli import main\n{before}\nmain()"
    words = ("pretrain", *TINY, "--epochs", "5000")
    process = subprocess.Popen(
        [sys.executable, "-c", code, *words],
        cwd=tmp_path,
        env={**{name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "CI")}, "TERM": "xterm"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        # The terminal's own Ctrl-C reaches its session alone.
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    try:
        seen = read_until(ours, b"loss")
        assert HIDE in seen
        os.write(ours, b"\x03")
        if presses == 2:
            seen = read_until(ours, b"saving", seen)
            os.write(ours, b"\x03")
        seen = read_until(ours, b"no mark at all", seen)
        assert process.wait(60) == 130
    finally:
        process.kill()
        os.close(ours)
    assert seen.rindex(SHOW) > seen.rindex(HIDE)
    assert b"Traceback" not in seen
    after = seen[seen.rindex(SHOW) + len(SHOW) :]
    if presses == 1:
        assert b"dsabench: interrupted; the same command goes on from the last checkpoint\r\n" in after
    else:
        said = b"dsabench: stopped at once, nothing more was saved; saved before: simclr s0 not yet; the same command"
        assert after.strip().startswith(said)
        assert seen[: seen.rindex(SHOW)].endswith(b"\r\n")


@pytest.mark.parametrize("term", ["xterm", "dumb"])
def test_show_draws_the_log_in_a_terminal(term: str, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    ours, theirs = pty.openpty()
    # As if a run were there: what is shown of it beside the log is its state.
    before = (
        "from types import SimpleNamespace as S; from pathlib import Path; from dsabench.training.store import Store\n"
        f"Store.find = lambda *_: S(folder=Path({str(folder)!r}), state=dict(status='finished', checkpoints=[]))"
    )
    folder.mkdir()
    (folder / "log.csv").write_text("epoch,loss,dsa_adjust\n1,5.0,0\n2,4.0,0\n3,4.5,0.5\n")
    process = subprocess.Popen(
        [sys.executable, "-c", f"import sys\nfrom dsabench.cli import main\n{before}\nmain()", "show", str(folder)],
        env={**os.environ, "TERM": term, "PYTHONIOENCODING": "utf-8"},
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = read_until(ours, b"from epoch 3 on the loss includes dsa_adjust")
    assert process.wait(60) == 0
    os.close(ours)
    assert "█▁╎▅" in seen.decode()
    assert str(folder / "log.csv").encode() in seen.replace(b"\r\n", b"")
