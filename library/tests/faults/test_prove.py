"""prove proves itself: each check has a fault, which is caught, but escapes a limit thrown open."""

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
from mlgates.faults import prove
from mlgates.faults.planting import FAULTS, Bench, Healthy, NotApplicable, try_fault
from mlgates.faults.prove import AREAS as FAULT_MODULES
from mlgates.faults.prove import healthy_rows
from mlgates.monitoring import Comparison
from mlgates.monitoring.drift import VALUE_DRIFT
from mlgates.settings import SECTIONS
from mlgates.verdict import Check, Report, Verdict

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
# The name of a check at the head of a string, as in "gate.slice.*": not a file, and to its end
AREAS = "data|drift|explain|features|gate|monitor|poison|record|reproduce|serving|skew|train"
NAME = re.compile(rf"(?:{AREAS})\.(?!py|html|json)[a-z0-9_.*=]*[a-z0-9*](?![a-z0-9_.*])")
CHECK_MAKERS = ("Check", "at_most", "not_below")
# Kinds of drift, a tag in MLflow, and features: no fixed names
OPEN = ("drift.*", "drift.*.*", "record.*", "skew.*")
# Checks that no fault makes fail, and the test that does. A star stands for what is known at run
# time only.
IN_TESTS = {
    "gate.digest": "test_a_changed_or_absent_model_is_not_promoted",
    "monitor.drift.*": "test_a_unit_changed_upstream_is_drift_and_no_skew",
    "monitor.labels": "test_quality_is_judged_as_soon_as_outcomes_are_known",
    "monitor.prediction_drift": "test_columns_that_move_together_fail",
    "skew.*.*": "test_a_look_up_that_is_served_otherwise_than_trained_is_skew",
    "skew.score": "test_a_score_or_a_decision_that_is_not_the_models_is_seen",
    "train.row_count": "test_a_row_lost_between_two_stages_stops_the_run",
}
# Checks that need a repository with a release: the tests of the template prove them.
IN_TEMPLATE = {
    "reproduce.model": "test_a_clock_as_seed_and_a_forged_number_are_caught_by_reproduce",
    "reproduce.verdict": "test_a_clock_as_seed_and_a_forged_number_are_caught_by_reproduce",
}


def _is_table_of_old_names(node: ast.stmt) -> bool:
    """Whether a statement is a table `RENAMED`: it names checks that do not exist any more."""
    return isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "RENAMED"


def names(code: str) -> Iterator[str]:
    """The checks that some code can emit.

    That is each name at the head of a string, and whatever is given to a function that makes a
    check. What is known at run time only is a star.
    """
    tree = ast.parse(code)
    tree.body = [node for node in tree.body if not _is_table_of_old_names(node)]

    strings: set[ast.Constant | ast.JoinedStr] = set()
    parts_of_strings: set[ast.expr] = set()
    arguments_of_checks: set[ast.expr] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant | ast.JoinedStr):
            strings.add(node)
        if isinstance(node, ast.JoinedStr):
            parts_of_strings.update(node.values)
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func) in CHECK_MAKERS:
            arguments_of_checks.add(node.args[0])

    for node in strings - parts_of_strings:
        text = _text(node)
        match = NAME.match(text)
        if match:
            yield match[0]
        elif node in arguments_of_checks and text.strip("*"):
            yield text


def _text(string: ast.Constant | ast.JoinedStr) -> str:
    """What a constant or an f-string says, with a star for each expression in it."""
    parts = string.values if isinstance(string, ast.JoinedStr) else [string]
    text = ""
    for part in parts:
        text += str(part.value) if isinstance(part, ast.Constant) else "*"
    return text


def unproven(codes: Iterable[str]) -> set[str]:
    """The checks that are known to fail in no fault and in no test; `AREA.*` is no name."""
    emitted: set[str] = set()
    for code in codes:
        emitted.update(names(code))
    for section, settings in SECTIONS.items():  # a parameter is named as a check is
        emitted -= {f"{section}.{field.name}" for field in fields(settings)}
    emitted -= {*IN_TESTS, *IN_TEMPLATE, *OPEN}

    caught_by = {fault.caught_by for fault in FAULTS if fault.expected is not Verdict.OK}
    return {name for name in emitted if not _is_caught(name, caught_by)}


def _is_caught(name: str, caught_by: set[str]) -> bool:
    """Whether a fault is caught by the check of that name, in which stars may stand."""
    family = name.partition(".*")[0]
    if family.isalpha():
        return False
    return any(fnmatchcase(check, name) or check == family for check in caught_by)


def sources(project: Project) -> list[str]:
    """The code that can emit a check: the library without its faults, and the project's wiring."""
    library = Path(mlgates.__file__).parent
    paths = []
    for path in library.rglob("*.py"):
        parts = path.relative_to(library).parts
        if not {"faults", "rehearsal.py", "testing"}.intersection(parts):
            paths.append(path)
    wiring = sorted((project.root / "src" / project.package).rglob("*.py"))
    assert len(paths) > 50, "not all code of the library was found"
    assert len(wiring) > 10, "not all code of the project was found"
    return [path.read_text(encoding="utf-8") for path in [*paths, *wiring]]


def body(test: str, folder: Path) -> str:
    """The code of a test, wherever it lies below a folder; empty if there is none."""
    for path in folder.rglob("test_*.py"):
        code = path.read_text(encoding="utf-8")
        head = f"\ndef {test}("
        if head in code:
            return code.partition(head)[2].partition("\ndef ")[0]
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
    """What Evidently reports where nothing drifted, without the seconds that its figures take."""

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
    before, _ = try_fault(fault, bench)
    opened = replace(getattr(bench.settings, section), **{limit: value})
    settings = replace(bench.settings, **{section: opened})
    after, evidence = try_fault(fault, replace(bench, settings=settings))
    # Both may be None: with some contracts or with this limit a fault is not applicable.
    assert before is not False
    assert after is not True, evidence


def test_a_check_that_fails_without_a_fault_is_a_false_alarm(bench: Bench) -> None:
    def run(bench: Bench, seed: int) -> Report:
        return Report("gate", [Check("gate.finite", Verdict.FAIL if seed == 1 else Verdict.OK)])

    line = prove._run_healthy(Healthy("gate", run, seeds=2, slow=False), bench)
    assert line.area == "healthy runs" and line.result == "FALSE ALARM"
    assert line.subject == "healthy: gate, seeds: 2"
    assert line.expectation == "1 of 2 checks failed, 1 runs failed"
    assert line.evidence.startswith("gate.finite")
    assert line.false_alarms == 1


def test_a_healthy_run_that_is_not_applicable_is_quiet(bench: Bench) -> None:
    def run(bench: Bench, seed: int) -> Report:
        raise NotApplicable("no column")

    line = prove._run_healthy(Healthy("gate", run, seeds=2, slow=False), bench)
    assert line.result == "quiet"
    assert line.evidence == "not applicable: no column"
