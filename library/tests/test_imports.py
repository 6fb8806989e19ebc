"""Importing the library is cheap, and its packages build on each other in one direction."""

import ast
import subprocess
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import late_flights
import mlgates

SOURCE = Path(mlgates.__file__).parent
TOOLS = ("great_expectations", "mlflow", "dvc", "evidently", "bentoml")
HEAVY = ("pandas", "scipy", "sklearn", "matplotlib", *TOOLS)
WIRING = Path(late_flights.__file__).parent
SHOWN = {
    "validate": {"great_expectations"}, "track": {"mlflow"},
    "monitor": {"evidently"}, "service": {"bentoml"},
}  # fmt: skip
CHEAP = (
    "mlgates", "mlgates.contract", "mlgates.data", "mlgates.training", "mlgates.evaluation",
    "mlgates.gate", "mlgates.registry", "mlgates.lineage", "mlgates.trust", "mlgates.privacy",
    "mlgates.serving.predictor", "mlgates.monitoring", "mlgates.faults", "mlgates.draft",
    "mlgates.cli",
)  # fmt: skip

ORDER = (  # of the packages and modules at the top of mlgates: each builds on those before it only
    (
        "errors",
        "layout",
        "ci",
        "command",
        "verdict",
        "files",
        "grid",
        "answer",
        "settings",
        "limits",
        "reports",
        "project",
        "screen",
        "dvc_lock",
        "team_code",
        "tools",
        "results",
    ),
    ("mlgates",),  # the public names
    ("contract", "features", "lookups", "drift", "model_folder", "pyfunc"),
    ("data", "evaluation", "training", "gate"),
    ("trust", "registry", "lineage", "privacy"),
    ("serving", "monitoring"),
    ("local_service", "faults"),
    ("draft", "quickstart", "simulate", "rehearsal", "testing", "eject", "cli"),
)
PLACES = {name: place for place, name in enumerate(name for tier in ORDER for name in tier)}
UPWARDS = {  # the imports that do not follow it, and why they may stay
    (
        "data.period_page",
        "evaluation.plots",
    ): "the page of a period draws its columns with the one module that draws",
    (
        "evaluation.measure",
        "training.split",
    ): "asks of the rows what the studies ask: that there are any",
    (
        "evaluation.measure",
        "trust.champion",
    ): "a champion is unpickled only if a trusted key has signed it",
    ("trust.keys", "registry.git"): "the key's public half is named after the committer",
    ("trust.sign", "registry.deploy"): "what is signed is what can be fetched and deployed",
    (
        "trust.sign",
        "registry.git",
    ): "nothing is signed while keys/ has changes that are not committed",
    ("trust.sign", "registry.releases"): "what holds an alias is signed again",
    (
        "registry.status",
        "privacy.purge",
    ): "the status tells which releases were trained on erased rows",
    (
        "registry.training_cycle",
        "privacy.purge",
    ): "a champion that was trained on erased rows counts as too old",
    (
        "lineage.explain",
        "monitoring.skew",
    ): "computes a prediction again and compares, as the monitor does",
    (
        "lineage.explain",
        "monitoring.watch",
    ): "reads the same rows of the prediction log as the monitor",
}


def modules() -> dict[str, Path]:
    """All modules of the library by their dotted names."""
    found = {}
    for path in sorted(SOURCE.rglob("*.py")):
        parts = ["mlgates", *path.relative_to(SOURCE).with_suffix("").parts]
        if parts[-1] == "__init__":
            parts.pop()
        found[".".join(parts)] = path
    return found


MODULES = modules()


def import_statements(tree: ast.Module, *, lazy: bool) -> Iterator[ast.Import | ast.ImportFrom]:
    """The imports that run when the module is imported; with `lazy`, those of functions too."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield node
        for_types_only = isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        runs_later = (
            isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda) and not lazy
        )
        if for_types_only:
            waiting += node.orelse
        elif not runs_later:
            waiting += ast.iter_child_nodes(node)


@cache
def imported(name: str, *, lazy: bool = False) -> set[str]:
    """The modules of the library that a module imports."""
    found = set()
    for statement in import_statements(
        ast.parse(MODULES[name].read_text(encoding="utf-8")), lazy=lazy
    ):
        if isinstance(statement, ast.Import):
            found |= {alias.name for alias in statement.names}
            continue
        assert not statement.level, f"{name} imports by a relative name"
        for alias in statement.names:
            module = f"{statement.module}.{alias.name}"  # `from package import module`
            found.add(module if module in MODULES else str(statement.module))
    return {module for module in found if module in MODULES} - {name}


def top(module: str) -> str:
    """The package or module at the top of mlgates that a module belongs to."""
    parts = module.split(".")
    return parts[1] if len(parts) > 1 else parts[0]


def upwards() -> set[tuple[str, str]]:
    """Imports of what stands later in ORDER, without the library's name."""
    found = set()
    for name in MODULES:
        for other in imported(name):
            if PLACES[top(other)] > PLACES[top(name)]:
                found.add((name.removeprefix("mlgates."), other.removeprefix("mlgates.")))
    return found


def test_every_package_has_its_place() -> None:
    assert {top(name) for name in MODULES} == {*PLACES}


def test_packages_build_on_those_below_them_only() -> None:
    new = upwards() - {*UPWARDS}
    assert new == set(), (
        "an import upwards: move what is needed down, or list it in UPWARDS with a reason"
    )


def test_no_exception_is_listed_that_is_not_needed_any_more() -> None:
    assert {*UPWARDS} - upwards() == set()


@pytest.mark.parametrize("lazy", [False, True])
def test_no_modules_import_each_other_in_a_circle(lazy: bool) -> None:
    graph = {name: imported(name, lazy=lazy) for name in MODULES}
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        pytest.fail(" -> ".join(reversed(error.args[1])))


def test_an_import_for_types_is_none_and_one_in_a_function_comes_later() -> None:
    code = (
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import a\n"
        "else:\n    import b\ndef f(): import c\n"
    )
    tree = ast.parse(code)
    names = {
        lazy: {s.names[0].name for s in import_statements(tree, lazy=lazy)}
        for lazy in (False, True)
    }
    assert names == {False: {"TYPE_CHECKING", "b"}, True: {"TYPE_CHECKING", "b", "c"}}


WATCH = """
import importlib, sys
heavy = set({heavy})
for name in {names}:
    importlib.import_module(name)
    if found := heavy & set(sys.modules):
        print(name, "imports", *sorted(found))
        break
"""


def first_heavy(names: Iterable[str], heavy: Iterable[str]) -> str:
    """Of modules that are imported one after the other, the first that brings something heavy."""
    code = WATCH.format(names=[*names], heavy=[*heavy])
    answer = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    return answer.stdout.strip()


def test_importing_the_library_imports_nothing_heavy() -> None:
    assert first_heavy(CHEAP, HEAVY) == ""


def test_a_stage_pays_for_a_library_only_where_it_needs_it() -> None:
    names = [
        f"late_flights.pipeline.{stage}"
        for stage in ("ingest", "train", "studies", "evaluate", "gate")
    ]
    assert first_heavy(names, [*HEAVY, "late_flights.model"]) == ""


@pytest.mark.parametrize("path", sorted(WIRING.rglob("*.py")), ids=lambda path: path.stem)
def test_a_wiring_file_imports_the_tool_that_it_shows_and_no_other(path: Path) -> None:
    found = set()
    for statement in import_statements(ast.parse(path.read_text(encoding="utf-8")), lazy=True):
        names = [alias.name for alias in statement.names]
        if isinstance(statement, ast.ImportFrom):
            names = [] if statement.level else [str(statement.module)]
        found |= {name.partition(".")[0] for name in names}
    assert found & {*TOOLS} == SHOWN.get(path.stem, set())
