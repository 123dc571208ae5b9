"""Who may import whom, read from the imports of every module of the package."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

import dsabench

ROOT = Path(dsabench.__file__).parent
HEAVY = (
    "torch",
    "numpy",
    "pandas",
    "sklearn",
    "scipy",
    "matplotlib",
    "lightly",
    "timm",
    "lightning_fabric",
    "rich",
    "optuna",
)


class Import(NamedTuple):
    """`module` imports `target`; `late` inside a function, `typing` for type checkers alone."""

    module: str
    target: str
    late: bool
    typing: bool


def name_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {name_of(path): path for path in sorted(ROOT.rglob("*.py"))}


def imports_in(module: str, node: ast.AST, late: bool = False, typing: bool = False) -> list[Import]:
    found = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            found += [Import(module, alias.name, late, typing) for alias in child.names]
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"{module}: imports are absolute"
            assert child.module is not None
            for alias in child.names:
                # `from dsabench import rng` names a module, `from dsabench.rng import generator` what is in one.
                inner = f"{child.module}.{alias.name}"
                found.append(Import(module, inner if inner in MODULES else child.module, late, typing))
        else:
            function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            checking = isinstance(child, ast.If) and ast.unparse(child.test) in (
                "TYPE_CHECKING",
                "typing.TYPE_CHECKING",
            )
            found += imports_in(module, child, late or function, typing or checking)
    return found


@cache
def all_imports() -> list[Import]:
    return [
        found
        for module, path in MODULES.items()
        for found in imports_in(module, ast.parse(path.read_text(encoding="utf-8")))
    ]


def inside(name: str, *packages: str) -> bool:
    return any(name == package or name.startswith(package + ".") for package in packages)


def importers(*packages: str) -> set[str]:
    """The modules that import a package, in whichever way, itself left out."""
    return {one.module for one in all_imports() if inside(one.target, *packages) and not inside(one.module, *packages)}


def targets(*packages: str) -> set[str]:
    """What the modules of a package import of dsabench, itself left out."""
    return {
        one.target
        for one in all_imports()
        if inside(one.module, *packages) and inside(one.target, "dsabench") and not inside(one.target, *packages)
    }


def loaded_by(statement: str) -> set[str]:
    """Which packages a fresh interpreter has loaded after a statement."""
    code = f"{statement}\nimport sys\nprint(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_package_is_seen() -> None:
    assert {"dsabench.cli", "dsabench.methods.simclr", "dsabench.regularizers.dsa.nested", "dsabench.metrics"} <= set(
        MODULES
    )
    assert Import("dsabench.training.loop", "dsabench.rng", late=False, typing=False) in all_imports()
    assert Import("dsabench.cli.output", "dsabench.config.run_config", late=False, typing=True) in all_imports()
    assert Import("dsabench.cli.compare", "dsabench.evaluation.images", late=True, typing=False) in all_imports()


def test_methods_and_regularizers_never_see_each_other_nor_what_runs_them() -> None:
    allowed = {
        f"dsabench.{name}"
        for name in ("types", "teachers", "adjuster", "checks", "gather", "transfer", "registry", "rng", "errors")
    }
    assert targets("dsabench.methods") <= allowed
    assert targets("dsabench.regularizers") <= allowed


def test_one_method_never_sees_another() -> None:
    # What several share lies in modules of its own.
    from dsabench.methods import METHODS
    from dsabench.regularizers import REGULARIZERS

    methods = {entry.target.partition(":")[0] for entry in METHODS.values()}
    for method in methods:
        assert not targets(method) & (methods - {method}), method
    regularizers = {entry.target.partition(":")[0] for entry in REGULARIZERS.values()}
    families = {"dsabench.regularizers.dsa.reference": {"dsabench.regularizers.dsa.nested"}}
    for regularizer in regularizers:
        others = regularizers - {regularizer} - families.get(regularizer, set())
        assert not targets(regularizer) & others, regularizer


def test_metrics_see_torch_and_scientific_python_alone() -> None:
    used = {one.target for one in all_imports() if inside(one.module, "dsabench.metrics")}
    outside = {name.partition(".")[0] for name in used} - set(sys.stdlib_module_names)
    assert outside <= {"torch", "numpy", "scipy", "sklearn", "dsabench"}
    assert targets("dsabench.metrics") <= {"dsabench.registry", "dsabench.evaluators"}


@pytest.mark.parametrize("module", ["config.spec", "config.run_config", "tables.rows"])
def test_configuration_and_results_do_not_import_torch_at_any_depth(module: str) -> None:
    assert not loaded_by(f"import dsabench.{module}") & {"torch", "numpy", "pandas", "sklearn", "typer", "rich"}


def test_no_two_modules_have_one_name() -> None:
    # A command is called as what it does, and a folder's base holds what its entries implement.
    places: dict[str, list[str]] = {}
    for module in MODULES:
        name = module.rpartition(".")[2]
        if MODULES[module].stem not in ("__init__", "__main__", "base") and not inside(module, "dsabench.cli"):
            places.setdefault(name, []).append(module)
    assert not {name: modules for name, modules in places.items() if len(modules) > 1}
    assert not places.keys() & {"shared", "common", "parts", "known", "utils", "helpers", "misc"}


def test_typer_and_rich_live_in_their_places() -> None:
    assert all(inside(module, "dsabench.cli") for module in importers("typer", "click"))
    typing = {one.module for one in all_imports() if inside(one.target, "rich") and one.typing}
    assert all(inside(module, "dsabench.progress", "dsabench.report") for module in importers("rich") - typing)


# The house from its roof to its ground: a room imports from those that stand later in this list alone.
ROOMS = (
    "cli",
    "launch",
    "report",
    "evaluation",
    "training",
    "tables",
    "stats",
    "config",
    "data",
    "methods",
    "regularizers",
    "backbones",
    "probes",
    "metrics",
)
# What everyone may use, in the order in which these may use each other.
GROUND = (
    "progress",
    "pace",
    "signals",
    "teachers",
    "adjuster",
    "gather",
    "transfer",
    "types",
    "checks",
    "rng",
    "files",
    "evaluators",
    "registry",
    "errors",
)


def test_rooms_import_downwards_alone() -> None:
    order = {name: floor for floor, name in enumerate((*ROOMS, *GROUND))}
    rooms = {module.split(".")[1] for module in MODULES if module.count(".")}
    assert rooms <= order.keys(), f"a room that no floor was given: {sorted(rooms - order.keys())}"
    up = [
        f"{one.module} -> {one.target}"
        for one in all_imports()
        if inside(one.target, "dsabench") and one.target.count(".") and one.module.count(".")
        if order[one.target.split(".")[1]] < order[one.module.split(".")[1]]
    ]
    assert not up


def test_the_loop_never_asks_which_method_or_regularizer_it_runs() -> None:
    from dsabench.methods import METHODS
    from dsabench.regularizers import REGULARIZERS

    names = {*METHODS, *REGULARIZERS} - {"none", "random"}
    rooms = ("dsabench.training", "dsabench.evaluation", "dsabench.launch")
    for module in (name for name in MODULES if inside(name, *rooms)):
        tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
        words = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        assert not words & names, module
        assert not any(
            inside(one.target, "dsabench.methods", "dsabench.regularizers")
            and one.target not in ("dsabench.methods", "dsabench.regularizers")
            and not one.target.endswith(".base")
            for one in all_imports()
            if one.module == module
        ), module


def test_no_module_needs_one_that_needs_it() -> None:
    needs: dict[str, set[str]] = {module: set() for module in MODULES}
    for one in all_imports():
        if inside(one.target, "dsabench") and not one.late and not one.typing:
            needs[one.module].add(one.target)
    done: set[str] = set()

    def visit(module: str, above: tuple[str, ...]) -> None:
        assert module not in above, " -> ".join((*above, module))
        if module not in done:
            for other in sorted(needs[module]):
                visit(other, (*above, module))
            done.add(module)

    for module in sorted(needs):
        visit(module, ())


def test_help_waits_for_nothing_heavy() -> None:
    assert not loaded_by("import dsabench.cli") & set(HEAVY)


def test_listing_the_registries_waits_for_nothing_heavy() -> None:
    registries = ("backbones", "data", "methods", "metrics", "probes", "regularizers")
    assert not loaded_by("\n".join(f"import dsabench.{name}" for name in registries)) & set(HEAVY)


def test_every_entry_names_something_that_is_there() -> None:
    from importlib import import_module

    registries = {
        "backbones": "BACKBONES",
        "data": "DATASETS",
        "methods": "METHODS",
        "metrics": "METRICS",
        "probes": "PROBES",
        "regularizers": "REGULARIZERS",
    }
    for module, name in registries.items():
        registry = getattr(import_module(f"dsabench.{module}"), name)
        for key, entry in registry.items():
            where, _, attribute = entry.target.partition(":")
            assert hasattr(import_module(where), attribute), key
            assert entry.summary, key
            assert "\n" not in entry.summary, key
