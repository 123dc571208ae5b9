"""From the material of one or several tables to a page."""

from __future__ import annotations

from collections.abc import Sequence

from dsabench.report.page.blocks import Absent, Block, Chapter, Page, Section
from dsabench.report.page.material import Material
from dsabench.report.page.measured import cost, crowding, differences, results
from dsabench.report.page.opening import opening, several
from dsabench.report.page.origin import provenance
from dsabench.report.page.stored import Stored, stored_sections


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
    made = {} if stored is None else stored_sections(stored)
    middle = []
    for key, title in _STORED.items():
        why = Absent("it needs the runs behind these rows.", f"dsabench report {material.source} --from RUNS")
        middle.append(Section(f"{material.name}-{key}", title, made.get(key, (why,))))
    sections = (results(material), differences(material), crowding(material), *middle, cost(material))
    return Chapter(material.title, opening(material, deviations or ()), (*sections, provenance(material, deviations)))
