"""Results for people: tables that fit 80 columns, one plain sentence a comparison, and the summary CSV."""

from __future__ import annotations

from dsabench.report.overview import print_listing, print_overview, print_values
from dsabench.report.verdicts import finding, per_image, print_comparisons, write_summary
from dsabench.report.wording import label

__all__ = [
    "finding",
    "label",
    "per_image",
    "print_comparisons",
    "print_listing",
    "print_overview",
    "print_values",
    "write_summary",
]
