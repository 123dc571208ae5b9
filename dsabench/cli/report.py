"""`dsabench report`: figures, a page and tables from what was measured. Nothing is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

from dsabench.cli import flags
from dsabench.cli.flags import FILES, OUTPUT, WHAT, Deciding, option
from dsabench.cli.groups import grouped
from dsabench.cli.output import limit
from dsabench.errors import UsageError, unknown

if TYPE_CHECKING:
    from dsabench.report.page.material import Material

STYLES = ("paper", "slides")
MAPS = ("tsne", "umap")


@grouped
def report(
    deciding: Deciding,
    tables: Annotated[list[Path] | None, typer.Argument(help="Tables of compare, side by side.")] = None,
    source: Annotated[
        Path | None,
        option(FILES, "The run store behind the tables, or without a table what was compared there last.", "--from"),
    ] = None,
    output: Annotated[
        Path | None, option(FILES, "Folder of NAME.html.", metavar="DIR", show_default="that of the table")
    ] = None,
    figures: Annotated[Path | None, option(FILES, "Write each figure as SVG and PDF too.", metavar="DIR")] = None,
    style: Annotated[str, option(OUTPUT, "Of these figures: paper or slides.")] = "paper",
    latex: Annotated[bool, option(OUTPUT, "Write NAME.tex too: the tables with booktabs.", "--latex")] = False,
    markdown: Annotated[bool, option(OUTPUT, "Write NAME.md too: the tables.", "--markdown")] = False,
    cells: Annotated[bool, option(OUTPUT, "Write NAME-table-N.csv too: the tables.", "--csv")] = False,
    pairs: Annotated[int, option(WHAT, "Pairs of arms that are shown class by class and image by image.", min=1)] = 3,
    maps: Annotated[str, option(WHAT, "Maps of the test images: tsne, or umap with the extra.")] = "tsne",
    offline: flags.Offline = False,
    as_json: flags.Json = False,
    debug: flags.Debug = False,
) -> None:
    """Make a page of figures and tables: dsabench report results/digits.csv --from runs

    One HTML file that needs no network. With --from it shows learning curves, classes and images too.
    """
    if not tables and source is None:
        raise UsageError("report needs a table or a run store, as in: dsabench report results/NAME.csv --from runs")
    for word, value, known in (("style", style, STYLES), ("value of --maps", maps, MAPS)):
        if value not in known:
            raise unknown(word, value, known)
    criteria = deciding.criteria()
    limit(1, offline)
    from dsabench.data import Datasets
    from dsabench.files import check_writable, write_atomic
    from dsabench.report.figures.drawing import STYLES as DRAWN
    from dsabench.report.figures.drawing import save
    from dsabench.report.page.document import page_of
    from dsabench.report.page.html import html
    from dsabench.report.page.material import material_of
    from dsabench.report.page.newest import newest_material
    from dsabench.report.page.stored import Stored
    from dsabench.training.run import say
    from dsabench.training.store import Store

    datasets = Datasets(offline=offline)
    store = None if source is None else Store(source)
    materials = [material_of(path, criteria) for path in tables or ()]
    if not materials and store is not None:
        materials = [newest_material(store, datasets, criteria)]
    folder = output or (tables[0].parent if tables else Path("results"))
    name = "-and-".join(path.stem for path in tables) if tables else materials[0].name
    path = folder / f"{name}.html"
    check_writable(path)
    kind = cast(Literal["tsne", "umap"], maps)
    chapters = [(one, Stored(one, store, datasets, pairs, kind) if store else None) for one in materials]
    page = page_of(chapters)
    write_atomic(path, html(page))
    written = [path, *written_tables(materials, folder / name, latex, markdown, cells)]
    if figures is not None:
        for drawing in page.drawings():
            written += save(drawing.draw(DRAWN[style]), figures / drawing.name, DRAWN[style])
    if as_json:
        print(json.dumps({"report": str(path), "files": [str(one) for one in written]}))
    else:
        print(path)
    say(f"wrote {path}" + (f" and {len(written) - 1} more files" if len(written) > 1 else ""))


def written_tables(materials: list[Material], name: Path, latex: bool, markdown: bool, cells: bool) -> list[Path]:
    """The results of every table and the differences of every pair, in the formats that were asked for."""
    from dsabench.files import write_atomic
    from dsabench.report.cells import table_csv
    from dsabench.report.markdown import markdown as as_markdown
    from dsabench.report.page.tables import as_latex, tables_of

    texts = {}
    if latex:
        texts[".tex"] = "\n".join(as_latex(material) for material in materials)
    if markdown:
        texts[".md"] = "\n".join(as_markdown(table) for material in materials for table in tables_of(material))
    if cells:
        found = [table for material in materials for table in tables_of(material)]
        texts |= {f"-table-{number}.csv": table_csv(table) for number, table in enumerate(found, start=1)}
    # Not with_suffix, which would cut a name at its last point.
    files = {name.parent / f"{name.name}{ending}": text for ending, text in texts.items()}
    for file, text in files.items():
        write_atomic(file, text)
    return list(files)
