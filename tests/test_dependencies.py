"""What pyproject.toml requires is what is imported: nothing more, and nothing that another package happens to bring."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def names(requirements: Iterable[str]) -> set[str]:
    return {normal(re.split(r"[^\w.-]", one, maxsplit=1)[0]) for one in requirements}


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def imported(folder: str) -> set[str]:
    """The distributions that the modules of a folder import from, anywhere in their code."""
    found: set[str] = set()
    for path in (ROOT / folder).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
                found.add(node.module.partition(".")[0])
    outside = found - set(sys.stdlib_module_names) - {"dsabench", "benchmarks"}
    known = packages_distributions()
    return {normal(distribution) for name in outside for distribution in known.get(name, ())}


def test_all_that_is_required_is_imported() -> None:
    assert names(PROJECT["dependencies"]) - imported("dsabench") == set()


def test_all_that_is_imported_is_required() -> None:
    extras = names(one for group in PROJECT["optional-dependencies"].values() for one in group)
    assert imported("dsabench") - names(PROJECT["dependencies"]) - extras == set()
