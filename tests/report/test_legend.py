from dataclasses import replace

from arms import PAIR, PRIMARY, row

from dsabench.config.spec import brief_names
from dsabench.report import comparisons_called, finding, legend, overview_tables, paired_tables, rows_called
from dsabench.report.markdown import markdown

TUNED, OWN = "simclr[lr=0.003,temperature=0.46]", "simclr[lr=0.004]+dsa[k=27]"
NAMES = {TUNED: "simclr", OWN: "simclr+dsa"}


def test_what_is_shown_under_brief_names_says_what_it_would_of_arms_that_are_called_so() -> None:
    tuned = [replace(one, spec=OWN, against=TUNED, n_failed=1) for one in PAIR]
    plain = [replace(one, n_failed=1) for one in PAIR]
    shown = comparisons_called(tuned, brief_names([TUNED, OWN]))
    assert shown == plain
    assert finding(shown) == finding(plain)
    assert [*map(markdown, paired_tables(shown))] == [*map(markdown, paired_tables(plain))]
    rows = rows_called([row(TUNED, 0), row(OWN, 0)], NAMES)
    assert [one.spec for one in rows] == ["simclr", "simclr+dsa"]
    assert overview_tables(rows) == overview_tables([row("simclr", 0), row("simclr+dsa", 0)])


def test_arms_that_a_brief_name_would_not_tell_apart_keep_their_own_and_nothing_is_explained() -> None:
    arms = ("simclr", "simclr+dsa[k=3]", "simclr+dsa[k=5]")
    names = brief_names(arms)
    assert legend(names) == []
    alike = [replace(PRIMARY, spec=arms[1]), replace(PRIMARY, spec=arms[2])]
    assert comparisons_called(alike, names) == alike
    assert [one.spec for one in rows_called([row(arm, 0) for arm in arms], names)] == list(arms)
    # Without names nothing changes.
    assert comparisons_called(alike, {}) == alike


def test_the_legend_has_a_line_for_each_name_that_is_not_the_arm_itself() -> None:
    (table,) = legend({"random": "random", **NAMES})
    assert table.notes == (f"simclr: {TUNED}", f"simclr+dsa: {OWN}")
    assert (table.columns, table.sections) == ((), ())
