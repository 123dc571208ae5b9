"""A server that breaks off, sends something else, leads in circles, or sends nothing: whole and right, or not there."""

from __future__ import annotations

import hashlib
import os
import random
import signal
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from benchmarks.torture.outcome import Outcome
from benchmarks.torture.process import start_call
from dsabench.data.sources import archives
from dsabench.data.sources.archives import Archive, fetch
from dsabench.errors import DataError

SIZE = 1_000_000
DROPS = 10


def downloads(outcome: Outcome, root: Path, small: bool) -> None:
    """Fetch one file from servers of every kind of harm; those that relent are asked again."""
    content = random.Random(4).randbytes(SIZE)
    for number in range(2 if small else DROPS):
        offset = (SIZE - 1) * number // (DROPS - 1)
        for relents in (True, False):
            what = f"broken off at byte {offset:,}, {'then whole' if relents else 'always'}"
            outcome.add(what, wrong_with(root, content, partial(content, offset), relents))
    bodies: dict[str, Answer] = {
        "a login page": lambda handler: send(handler, b"<html>please log in</html>"),
        "another file of the same size": lambda handler: send(handler, bytes(SIZE)),
        "nothing": lambda handler: send(handler, b""),
        "no answer at all": lambda handler: handler.connection.close(),
        "an answer that never comes": lambda handler: SILENCE.wait(30) and None,
        "a redirect loop": redirect,
        "an error of the server": lambda handler: handler.send_error(503),
        "a file that is not there": lambda handler: handler.send_error(404),
        "no HTTP": lambda handler: handler.wfile.write(b"\0" * 100) and None,
    }
    for name, answer in bodies.items():
        for relents in (True, False):
            outcome.add(f"{name}, {'then whole' if relents else 'always'}", wrong_with(root, content, answer, relents))
    for moment in range(1, 2 if small else 6):
        outcome.add(f"killed after {moment * 0.05:.2f} s", wrong_after_kill(root, content, moment * 0.05))


Answer = Callable[[BaseHTTPRequestHandler], object]
SILENCE = threading.Event()


def send(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    """Send a whole answer."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def partial(content: bytes, offset: int) -> Answer:
    """Promise everything, and break off."""

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[:offset])
        handler.wfile.flush()
        handler.connection.close()

    return answer


def redirect(handler: BaseHTTPRequestHandler) -> None:
    """Lead to where one is."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def wrong_with(root: Path, content: bytes, harm: Answer, relents: bool) -> list[str]:
    """Fetch from a server that does harm, the first time or always, in a process of its own."""

    def body() -> int:
        archives.WAIT_S, archives.TIMEOUT_S = 0.01, 1
        folder = root / "into"
        folder.mkdir(exist_ok=True)
        for path in folder.iterdir():
            path.unlink()
        with serving(content, harm, relents) as address:
            archive = Archive((address + "x.bin",), hashlib.md5(content, usedforsecurity=False).hexdigest())
            try:
                fetched = fetch(archive, folder).read_bytes() == content
            except DataError as error:
                fetched = False
                print(error)
        left = sorted(path.name for path in folder.iterdir())
        return 0 if fetched == relents and left == (["x.bin"] if relents else []) else 1

    done = start_call(body, root).end()
    return done.wrong(0)


def wrong_after_kill(root: Path, content: bytes, moment: float) -> list[str]:
    """Kill a download, and do it again."""
    folder = root / "killed"
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()

    def slow(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: SIZE // 2])
        handler.wfile.flush()
        SILENCE.wait(1)
        handler.wfile.write(content[SIZE // 2 :])

    def body() -> int:
        with serving(content, slow, False) as address:
            threading.Timer(moment, os.kill, (os.getpid(), signal.SIGKILL)).start()
            fetch(Archive((address + "x.bin",), hashlib.md5(content, usedforsecurity=False).hexdigest()), folder)
        return 0

    killed = start_call(body, root).end()
    wrong = killed.wrong(-signal.SIGKILL)
    wrong += ["a half file has the name"] if (folder / "x.bin").exists() else []

    def again() -> int:
        with serving(content, lambda handler: send(handler, content), False) as address:
            archive = Archive((address + "x.bin",), hashlib.md5(content, usedforsecurity=False).hexdigest())
            whole = fetch(archive, folder).read_bytes() == content
        return 0 if whole and [path.name for path in folder.iterdir()] == ["x.bin"] else 1

    return wrong or start_call(again, root).end().wrong(0)


class serving:  # noqa: N801  (it is used like a function)
    """A server at an address of this machine; where it relents, it does harm the first time alone."""

    def __init__(self, content: bytes, harm: Answer, relents: bool) -> None:
        asked: list[str] = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                if relents and len(asked) > 1:
                    send(self, content)
                else:
                    harm(self)

            def log_message(self, format: str, *args: object) -> None:
                return

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                return

        self.server = Server(("127.0.0.1", 0), Handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_address[1]}/"

    def __exit__(self, *_: object) -> None:
        SILENCE.set()
        self.server.shutdown()
        self.server.server_close()
