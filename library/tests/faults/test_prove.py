"""prove proves itself: each check has a fault, which is caught as things stand and escapes an open limit."""

import ast
import importlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

import mlgates
from mlgates import Project
from mlgates.faults.planting import FAULTS, Bench, outcome
from mlgates.faults.prove import FAULT_MODULES, healthy_rows
from mlgates.monitoring import Comparison
from mlgates.monitoring.drift import VALUE_DRIFT
from mlgates.settings import SECTIONS
from mlgates.verdict import Verdict

for module in FAULT_MODULES:
    importlib.import_module(f"mlgates.faults.{module}")  # it registers its faults

TESTS = Path(__file__).parents[1]
TEMPLATE = TESTS.parents[1]  # the repository that the library lies in
LIMITS = [
    ("5 % of a column lie beyond its bound", "validate", "max_bad_share", 1.0),
    ("three rules are broken, each by few enough rows", "validate", "max_quarantine_share", 1.0),
    ("a period of 3 rows", "validate", "min_rows", 0),
    ("candidate is worse than the champion", "gate", "margin", 1e9),
    ("one slice broken, the overall metric flat", "gate", "slice_margin", 1e9),
    ("the first model is worse than a constant in one slice", "gate", "slice_min_rows", 10**9),
    ("a group is treated worse than the rest", "gate", "fairness_margin", 1e9),
    ("a feature is a proxy of a group", "gate", "proxy_limit", 1.0),
    ("the period has drifted", "monitor", "max_drifted_share", 1.0),
    ("values go missing in the service", "monitor", "missing_limit", 1.0),
    ("what comes true is not what it was", "monitor", "performance_margin", 1e9),
    ("only 20 predictions were logged", "monitor", "min_rows", 0),
    ("the ranking is right, the probabilities are not", "gate", "max_calibration_error", 1e9),
    ("the model knows rows by heart", "gate", "max_noise_loss", 1e9),
    ("the model takes a gigabyte", "gate", "max_model_size_mb", 1e9),
    ("most decisions are others than before", "gate", "max_changed_decisions", 1.0),
    ("a feature of noise, three periods running", "gate", "feature_periods", 4),
    ("a feature that takes 5 ms", "gate", "feature_microseconds", 1e9),
]
AREAS = "data|drift|explain|features|gate|monitor|poison|record|reproduce|serving|skew|train"
NAME = re.compile(rf"(?:{AREAS})\.(?!py|html|json)[a-z0-9_.*=]*[a-z0-9*](?![a-z0-9_.*])")
OPEN = (
    "drift.*",
    "drift.*.*",
    "record.*",
    "skew.*",
)  # kinds of drift, a tag in MLflow, and features: no fixed names
IN_TESTS = {  # checks that no fault turns red, and what does; a star stands for what is known at run time only
    "gate.digest": "test_a_changed_or_absent_model_is_not_promoted",
    "monitor.drift.*": "test_a_unit_changed_upstream_is_drift_and_no_skew",
    "monitor.labels": "test_quality_is_judged_as_soon_as_outcomes_are_known",
    "monitor.prediction_drift": "test_columns_that_move_together_fail",
    "skew.*.*": "test_a_look_up_that_is_served_otherwise_than_trained_is_skew",
    "skew.score": "test_a_score_or_a_decision_that_is_not_the_models_is_seen",
    "train.row_count": "test_a_row_lost_between_two_stages_stops_the_run",
}
IN_TEMPLATE = {  # what takes a repository with a release, and is proven by the tests of the template
    "reproduce.model": "test_a_clock_as_seed_and_a_forged_number_are_caught_by_reproduce",
    "reproduce.verdict": "test_a_clock_as_seed_and_a_forged_number_are_caught_by_reproduce",
}


def _names_of_before(node: ast.stmt) -> bool:
    """Whether a statement is a table `RENAMED`: what it names are not checks of today."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RENAMED"


def names(code: str) -> Iterator[str]:
    """The checks that some code can emit: names at the head of a string, and whatever it calls a check."""
    tree = ast.parse(code)
    tree.body = [node for node in tree.body if not _names_of_before(node)]
    strings = {node for node in ast.walk(tree) if isinstance(node, ast.Constant | ast.JoinedStr)}
    inner = {part for node in strings if isinstance(node, ast.JoinedStr) for part in node.values}
    calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args)
    named = {
        node.args[0]
        for node in calls
        if ast.unparse(node.func) in ("Check", "at_most", "not_below")
    }
    for node in strings - inner:
        parts = node.values if isinstance(node, ast.JoinedStr) else [node]
        text = "".join(
            str(getattr(part, "value", "")) if isinstance(part, ast.Constant) else "*"
            for part in parts
        )
        found = NAME.match(text)
        if found or (node in named and text.strip("*")):
            yield found[0] if found else text


def unproven(codes: Iterable[str]) -> set[str]:
    """The checks that nothing is known to turn red; `AREA.*` is no name."""
    caught = {fault.caught_by for fault in FAULTS if fault.expected is not Verdict.OK}
    parameters = {
        f"{section}.{field.name}" for section, part in SECTIONS.items() for field in fields(part)
    }
    missing = set()
    for name in (
        {name for code in codes for name in names(code)}
        - {*IN_TESTS, *IN_TEMPLATE, *OPEN}
        - parameters
    ):
        family = name.partition(".*")[0]
        if family.isalpha() or not any(fnmatchcase(one, name) or one == family for one in caught):
            missing.add(name)
    return missing


def sources(project: Project) -> list[str]:
    """The code that can emit a check: the library without its faults, and the project's wiring."""
    library = Path(mlgates.__file__).parent
    paths = [
        path
        for path in library.rglob("*.py")
        if not {"faults", "rehearsal.py", "testing.py"} & {*path.relative_to(library).parts}
    ]
    wiring = sorted((project.root / "src" / project.package).rglob("*.py"))
    assert len(paths) > 50 and len(wiring) > 10, "not all code is looked at"
    return [path.read_text(encoding="utf-8") for path in [*paths, *wiring]]


def body(test: str, folder: Path) -> str:
    """The code of a test, wherever it lies below a folder; empty if there is none."""
    for path in folder.rglob("test_*.py"):
        _, found, rest = path.read_text(encoding="utf-8").partition(f"\ndef {test}(")
        if found:
            return rest.partition("\ndef ")[0]
    return ""


def test_every_check_is_turned_red_by_a_fault_or_a_test(project: Project) -> None:
    codes = sources(project)
    assert unproven(codes) == set()
    emitted = {name for code in codes for name in names(code)}
    assert {*IN_TESTS, *IN_TEMPLATE} <= emitted, "a check that is gone is listed"


@pytest.mark.parametrize(("name", "test"), [*IN_TESTS.items()])
def test_a_test_that_stands_in_for_a_fault_names_the_check(name: str, test: str) -> None:
    assert name.partition(".*")[0] in body(test, TESTS).replace("\\", ""), (
        f"{name} is not named in {test}"
    )


@pytest.mark.skipif(
    not (TEMPLATE / "copier.yml").exists(), reason="the library alone: the template is elsewhere"
)
@pytest.mark.parametrize("test", sorted({*IN_TEMPLATE.values()}))
def test_a_test_of_the_template_that_stands_in_for_a_fault_is_there(test: str) -> None:
    assert body(test, TEMPLATE / "tests")


@pytest.mark.parametrize(
    ("code", "name"),
    [
        ('Check("gate.nobody", verdict)', "gate.nobody"),
        ('at_most(f"gate.nobody.{column}", 1, 0, rows)', "gate.nobody.*"),
        ('Check("lineage.nobody", verdict)', "lineage.nobody"),
        ('raise ProjectError(f"train.nobody: {told}.")', "train.nobody"),
        ('for name in ("better", "nobody"):\n    Check(f"gate.{name}", verdict)', "gate.*"),
    ],
)
def test_a_check_without_a_fault_is_named(code: str, name: str) -> None:
    assert unproven([code]) == {name}


@pytest.fixture(scope="module")
def bench(project: Project) -> Bench:
    """The sample project with its healthy rows."""
    return Bench(project, healthy_rows(project), project.settings())


class NothingDrifted:
    """What Evidently says where nothing drifted, without the seconds that its pictures take."""

    def __init__(self, compared: Comparison) -> None:
        self.columns = compared.columns

    def dict(self) -> dict[str, Any]:
        metrics, tests = [], []
        for name in self.columns:
            settings = {"type": VALUE_DRIFT, "column": name, "method": "none"}
            metrics.append({"config": settings, "value": 0.0})
            tests.append(
                {"metric_config": {"params": settings}, "status": SimpleNamespace(value="SUCCESS")}
            )
        return {"metrics": metrics, "tests": tests}

    def get_html_str(self, as_iframe: bool) -> str:
        return ""


@pytest.fixture(scope="module")
def without_drift(bench: Bench) -> Bench:
    """The bench, where no distribution drifts: for limits of the monitor's other checks."""
    monitor = ModuleType("monitor")
    monitor.distributions = NothingDrifted  # type: ignore[attr-defined]
    return replace(bench, project=bench.project.having(monitor=monitor))


@pytest.mark.parametrize(("name", "section", "limit", "value"), LIMITS)
def test_a_limit_thrown_open_lets_its_fault_escape(
    bench: Bench, without_drift: Bench, name: str, section: str, limit: str, value: float
) -> None:
    if section == "monitor" and limit != "max_drifted_share":
        bench = without_drift
    fault = next(fault for fault in FAULTS if fault.name == name)
    before, _ = outcome(fault, bench)
    opened = replace(getattr(bench.settings, section), **{limit: value})
    settings = replace(bench.settings, **{section: opened})
    after, evidence = outcome(fault, replace(bench, settings=settings))
    assert before is not False and after is not True, (
        evidence
    )  # with this limit some faults cannot even show
