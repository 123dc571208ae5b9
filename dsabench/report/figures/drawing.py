"""What all figures share: the colours and shapes of arms, the styles, and how a figure becomes SVG or PDF."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from dsabench.files import write_atomic
from dsabench.report.table import grouped
from dsabench.report.wording import broken, printable

# Okabe and Ito 2008 (jfly.uni-koeln.de/color), without black, which is the ink, and yellow, which white swallows.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
# Beside the colours, so that nothing is told by colour alone; as many as have no factor with the colours in common.
SHAPES = ("o", "s", "^", "D", "v", "P", "X")
DASHES = ("-", "--", ":", "-.")
RIGHT, WRONG = COLOURS[2], COLOURS[5]

# The page gives these to the reader's light or dark setting, so no other colour of the figures may be one of them.
INK, MUTED, GRID, BAND, SURFACE = "#1c1c1d", "#5c5c5d", "#dcdcdd", "#e4ecf4", "#fefeff"
VARIABLES = {INK: "--ink", MUTED: "--muted", GRID: "--grid", BAND: "--band", SURFACE: "--surface"}

LABEL_WIDTH, MOST_LINES = 26, 5
# Of what is drawn as an image: clouds of points. Pictures keep the pixels that they have.
DPI = 150


@dataclass(frozen=True)
class Style:
    """Where a figure is read: `width` in inches, `size` of its text in points, and what else matplotlib is told."""

    width: float
    size: float
    rc: Mapping[str, Any] = field(default_factory=dict)


STYLES: Mapping[str, Style] = {
    "page": Style(4.7, 9.5, {"svg.fonttype": "none", "font.family": "sans-serif"}),
    "paper": Style(5.5, 8, {"font.family": "STIXGeneral", "svg.fonttype": "path"}),
    # Shown as an image, where the reader's setting does not reach: on white, and with letters that need no font.
    "readme": Style(7.5, 9.5, {"font.family": "DejaVu Sans", "svg.fonttype": "path", "savefig.facecolor": "white"}),
    "slides": Style(9.0, 15, {"font.family": "DejaVu Sans", "lines.linewidth": 2.5, "svg.fonttype": "path"}),
}
PAGE = STYLES["page"]


@contextmanager
def styled(style: Style) -> Iterator[None]:
    """Draw and write in a style, the same everywhere whatever the reader's matplotlibrc says."""
    settings: dict[str, Any] = {
        "font.size": style.size,
        "axes.titlesize": style.size,
        "axes.labelsize": style.size,
        "xtick.labelsize": 0.9 * style.size,
        "ytick.labelsize": 0.9 * style.size,
        "legend.fontsize": 0.9 * style.size,
        "text.color": INK,
        "axes.labelcolor": INK,
        "axes.edgecolor": MUTED,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.grid": False,
        "grid.color": GRID,
        "legend.frameon": False,
        "figure.facecolor": "none",
        "axes.facecolor": "none",
        "savefig.facecolor": "none",
        # Names come from users: a dollar sign in one is no formula.
        "text.parse_math": False,
        "svg.hashsalt": "dsabench",
        "pdf.fonttype": 42,
        "path.simplify": True,
    }
    with mpl.rc_context(), warnings.catch_warnings():
        mpl.rcdefaults()
        mpl.rcParams.update({**settings, **style.rc})  # type: ignore[dict-item]
        # A class may be named in a script that the font lacks; the reader's own font has it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        yield


def new_figure(style: Style, height: float, width: float = 1.0) -> Figure:
    """An empty figure, `width` in parts of the style's, `height` in inches at 9.5 points of text."""
    return Figure(figsize=(style.width * width, height * style.size / PAGE.size), layout="constrained")


def svg(figure: Figure, style: Style = PAGE) -> str:
    """A figure as the text of an SVG file, without a date."""
    file = io.StringIO()
    with styled(style):
        figure.savefig(file, format="svg", dpi=DPI, metadata={"Date": None, "Creator": "dsabench"})
    return file.getvalue()


def pdf(figure: Figure, style: Style) -> bytes:
    """A figure as PDF, without a date."""
    file = io.BytesIO()
    with styled(style):
        figure.savefig(
            file, format="pdf", dpi=2 * DPI, metadata={"CreationDate": None, "Creator": "dsabench", "Producer": None}
        )
    return file.getvalue()


def inline(figure: Figure, name: str, alt: str) -> str:
    """A figure as an element of a page: ids of its own, described by `alt`, neutral colours as the page's variables."""
    text = svg(figure)
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r"\n\s*", "\n", text)
    # The page's own font; and a hundredth of a point is finer than any screen.
    text = re.sub(r"font-family: [^;\"]*; | transform=\"rotate\(-0 [^\"]*\"", "", text)
    text = re.sub(r' (d|x|y|transform)="[^"]*"', _rounded, text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(xlink:href="|url\()#', rf"\g<1>#{name}-", text)
    for colour, variable in VARIABLES.items():
        text = text.replace(colour, f"var({variable})")
    head, rest = text.split(">", 1)
    # Its size in points is kept as the most that it takes; the page scales it down.
    width = re.search(r'width="([\d.]+)pt"', head)
    assert width is not None
    head = re.sub(r' (width|height)="[\d.]+pt"', "", head)
    points = float(width[1])
    described = f'role="img" aria-label="{_attribute(printable(alt))}"'
    return f'{head} {described} style="width:{points / 0.75:.0f}px">{rest}'.strip()


def _rounded(attribute: re.Match[str]) -> str:
    return re.sub(r"(\.\d\d)\d+", r"\1", attribute[0])


def save(figure: Figure, path: Path, style: Style) -> list[Path]:
    """Write PATH.svg and PATH.pdf; raises StorageError where they cannot be written."""
    # Not with_suffix, which would cut a name at its last point.
    files = [path.parent / f"{path.name}{ending}" for ending in (".svg", ".pdf")]
    write_atomic(files[0], svg(figure, style))
    write_atomic(files[1], pdf(figure, style))
    return files


def _attribute(text: str) -> str:
    for mark, entity in (("&", "&amp;"), ('"', "&quot;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(mark, entity)
    return text


@dataclass(frozen=True)
class Look:
    """How an arm is drawn in every figure: colour and shape are its method's, `filled` says that it is regularized."""

    colour: str
    shape: str
    filled: bool
    dash: str


def looks(specs: Sequence[str]) -> dict[str, Look]:
    """The look of each spec, in order."""
    methods = grouped(specs, method_of)
    found = {}
    for place, arms in enumerate(methods.values()):
        regularized = [spec for spec in arms if spec != arms[0] and "+" in spec]
        for spec in arms:
            dash = DASHES[1 + regularized.index(spec) % 3] if spec in regularized else DASHES[0]
            look = Look(COLOURS[place % len(COLOURS)], SHAPES[place % len(SHAPES)], _regularized(spec), dash)
            found[spec] = look
    return {spec: found[spec] for spec in specs}


def method_of(spec: str) -> str:
    """The name of a spec's method, without options."""
    return re.split(r"[+\[]", spec, maxsplit=1)[0]


def _regularized(spec: str) -> bool:
    # A plus in brackets belongs to a value, as in 1e+3.
    return "+" in re.sub(r"\[[^\]]*\]", "", spec)


def folded(name: str, width: int = LABEL_WIDTH) -> str:
    """A name as a figure has room for it: broken into lines, the longest of which are cut."""
    lines = [line.strip() for line in broken(printable(name), width).split("\n")]
    lines = [line if len(line) <= width + 4 else f"{line[: width + 3]}…" for line in lines]
    return "\n".join(lines if len(lines) <= MOST_LINES else [*lines[: MOST_LINES - 1], "…"])
