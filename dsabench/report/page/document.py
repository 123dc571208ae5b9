"""From the material of one or several tables to a page."""

from __future__ import annotations

from collections.abc import Sequence

from dsabench.report.page.blocks import Absent, Block, Chapter, Page, Section
from dsabench.report.page.material import Material
from dsabench.report.page.measured import cost, differences, results
from dsabench.report.page.opening import opening, several
from dsabench.report.page.origin import provenance
from dsabench.report.page.stored import Stored, stored_sections
from dsabench.report.page.tradeoffs import crowding


def page_of(chapters: Sequence[tuple[Material, Stored | None]]) -> Page:
    """The page of these tables, each with the runs behind it where they are at hand."""
    materials = [material for material, _ in chapters]
    title = " and ".join(material.title for material in materials)
    first: tuple[Block, ...] = several(materials) if len(materials) > 1 else ()
    return Page(title, first, tuple(_chapter(*one) for one in chapters))


# What needs the runs, in the order of the page.
_STORED = {
    "curves": "Learning curves",
    "classes": "Who crowds whom",
    "maps": "The same test images under both arms",
    "similar": "Pairs taken for similar",
    "changed": "Images that changed sides",
}


def _chapter(material: Material, stored: Stored | None) -> Chapter:
    deviations = None if stored is None else stored.deviations
    first = (results(material), differences(material), crowding(material))
    middle = [_without_runs(material)] if stored is None else _with_runs(material, stored)
    sections = (*first, *middle, cost(material), provenance(material, deviations))
    return Chapter(material.title, opening(material, deviations or ()), sections)


def _with_runs(material: Material, stored: Stored) -> list[Section]:
    made = stored_sections(stored)
    return [Section(f"{material.name}-{key}", title, made[key]) for key, title in _STORED.items()]


def _without_runs(material: Material) -> Section:
    """One section in place of all that need the runs."""
    told = ", ".join(title[0].lower() + title[1:] for title in _STORED.values())
    why = Absent(
        f"{told}. All of it is in the runs behind these rows.", f"dsabench report {material.source} --from RUNS"
    )
    return Section(f"{material.name}-runs", "What the runs would show", (why,))
