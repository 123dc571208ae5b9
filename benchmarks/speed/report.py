"""Seconds and megabytes of a report, from the table on disk to the file.

python -m benchmarks.speed.report [--json] [--rounds 3]

The sixteen-method table `results/digits-methods.csv` without its runs, read, compared, drawn and written anew in every
round; importing torch and matplotlib, once a process, is not in it. The page has no peer to be measured beside.
"""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.speed.measure import Report, arguments, spread
from dsabench.report.page.document import page_of
from dsabench.report.page.html import html
from dsabench.report.page.material import material_of
from dsabench.tables.criteria import GUARDS, Criteria, parse_guard, parse_primary

RESULTS = Path(__file__).parents[2] / "results"
CRITERIA = Criteria(parse_primary("cdnv"), tuple(map(parse_guard, GUARDS)))


def main() -> None:
    options = arguments(__doc__.split("\n")[0], rounds=3).parse_args()
    names = ("digits-pixels",) if options.smoke else ("digits", "digits-methods")
    rounds = 1 if options.smoke else options.rounds
    report = Report("report", {"threads": options.threads, "rounds": rounds})
    for name in names:
        seconds = []
        for _ in range(rounds):
            start = time.perf_counter()
            text = html(page_of([(material_of(RESULTS / f"{name}.csv", CRITERIA), None)]))
            seconds.append(time.perf_counter() - start)
        report.figures.append({"table": name, "seconds": spread(seconds), "megabytes": len(text.encode()) / 1e6})
    report.print(options.json)


if __name__ == "__main__":
    main()
