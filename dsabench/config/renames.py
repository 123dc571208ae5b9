"""Regularizers that earlier versions wrote under another name, as this one calls them.

What was `dsa` is `dsa-nested`, and what was `dsa-bank` is `dsa`. A text alone does not tell which
`dsa` it means; the version of the file that it stands in does.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from dsabench.config.spec import Part, Spec, parse_part, parse_spec
from dsabench.registry import Scalar

BANK, NESTED = "dsa-bank", "dsa"
# What an option of `dsa-bank` was where nothing was said, and the same of `dsa` is; in between it had other defaults.
DEFAULTS: Mapping[str, Scalar] = MappingProxyType({"weight": 1, "push": 0})


def renamed(part: Part, trained: Mapping[str, Scalar] = DEFAULTS) -> Part:
    """A regularizer as an earlier version wrote it, under its name and options of now, so that it means the same.

    `trained` has the options of `dsa-bank` that had other defaults with the values that they were trained with, where
    that is known.
    """
    if part.name == NESTED:
        return Part("dsa-nested", part.options)
    if part.name != BANK:
        return part
    meant = {**{name: trained.get(name, value) for name, value in DEFAULTS.items()}, **part.options}
    now = Part("dsa", {name: value for name, value in meant.items() if value != DEFAULTS.get(name)})
    # 1.0 is 1, as in a spec.
    return parse_part(str(now))


def renamed_spec(text: str, trained: Mapping[str, Scalar] = DEFAULTS) -> str:
    """The same of the text of a spec; raises UsageError where it is none."""
    spec = parse_spec(text)
    return str(Spec(spec.method, renamed(spec.regularizer, trained)))


def renamed_regularizer(text: str) -> str:
    """The same of the text of a regularizer, left as it is where its name is."""
    if text.partition("[")[0] not in (NESTED, BANK):
        return text
    return str(renamed(parse_part(text)))
