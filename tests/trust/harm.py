"""What tests of harm share: how many examples they try, and how a file is damaged."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LISTED = {0, 1, 2, 3, 4, 5, 130, 143}


def tried(full: int, share: int) -> settings:
    """So many examples: all of them where TORTURE is set, as `make torture` does, else a share that takes seconds."""
    return settings(
        max_examples=full if os.environ.get("TORTURE") else share,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
    )


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 0, 2**63, 1e308, float("nan"), float("inf"), "", "../../x", "\0", "NaN", "\ud800"])
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


def places(content: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value, the whole of it left out."""
    for key in content if isinstance(content, dict) else range(len(content)) if isinstance(content, list) else ():
        yield (*path, key)
        yield from places(content[key], (*path, key))


@st.composite
def changed_json(draw: st.DrawFn, text: str) -> str:
    """A JSON text with one thing in it removed, replaced, renamed or repeated."""
    content = json.loads(text)
    *way, last = draw(st.sampled_from(list(places(content))))
    owner = content
    for key in way:
        owner = owner[key]
    kind = draw(st.sampled_from(["remove", "replace", "nudge", "rename"]))
    value = owner.pop(last)
    if kind == "nudge" and isinstance(value, int | float) and not isinstance(value, bool):
        value += draw(st.sampled_from([1, -1, 0.5]))
    elif kind != "rename":
        value = draw(JSON)
    if kind != "remove":
        if isinstance(owner, list):
            owner.insert(last, value)
        else:
            owner[draw(st.text(max_size=6)) if kind == "rename" else last] = value
    return json.dumps(content)


@st.composite
def damaged(draw: st.DrawFn, data: bytes) -> bytes:
    """Bytes with one bit flipped, the end cut off, or something put between."""
    place = draw(st.integers(0, max(0, len(data) - 1)))
    kind = draw(st.sampled_from(["flip", "flip", "cut", "insert"]))
    if kind == "cut" or not data:
        return data[:place]
    if kind == "insert":
        return data[:place] + draw(st.binary(min_size=1, max_size=8)) + data[place:]
    return data[:place] + bytes([data[place] ^ 1 << draw(st.integers(0, 7))]) + data[place + 1 :]


def replace(path: Path, data: bytes | str) -> None:
    """Put other content into a file."""
    path.write_bytes(data if isinstance(data, bytes) else data.encode(errors="surrogatepass"))
