"""Filters of runs and rows."""

import pytest

from dsabench.errors import UsageError
from dsabench.tables.where import RUN_KEYS, accepts, parse_where

FACTS = {"run_id": "acd9e9eb5cc5", "spec": "simclr[lr=0.1]", "epochs": 60, "lr": 0.002, "dataset": "my=set"}


@pytest.mark.parametrize(
    ("texts", "accepted"),
    [
        ([], True),
        (["epochs=60"], True),
        (["epochs=60.0", "lr=2e-3"], True),
        (["epochs=6"], False),
        (["epochs=many"], False),
        (["epochs=20", "epochs=60"], True),
        (["epochs=60", "lr=1"], False),
        (["spec=simclr[lr=0.1]", "dataset=my=set"], True),
        (["spec=simclr"], False),
        (["run_id=acd9"], True),
    ],
)
def test_of_one_key_either_value_and_of_several_all(texts: list[str], accepted: bool) -> None:
    assert accepts(parse_where(texts), FACTS) is accepted


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("epoch=60", "unknown key of --where 'epoch'; did you mean 'epochs'"),
        ("epochs", "cannot read --where 'epochs'"),
        ("=60", "cannot read"),
        ("epochs=", "cannot read"),
    ],
)
def test_a_wrong_filter_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_where([text])
    assert "status" not in RUN_KEYS


def test_a_value_that_a_key_never_has_is_refused_with_those_it_has() -> None:
    statuses = {"status": ("finished", "failed")}
    assert parse_where(["status=failed"], ("status",), statuses) == {"status": ["failed"]}
    with pytest.raises(UsageError, match=r"unknown status of --where 'finsihed'; known: finished, failed"):
        parse_where(["status=finsihed"], ("status",), statuses)
