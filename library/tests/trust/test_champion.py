"""The champion is found, verified and loaded in one way, and refused in the same sentences."""

import ast
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlgates
from clones import refusal
from mlgates import Project, evaluation, monitoring
from mlgates.layout import CHAMPION
from mlgates.registry import local_rollback
from mlgates.trust import champion
from mlgates.verdict import Check, Report, Verdict

SOURCE = Path(mlgates.__file__).parent
# The modules that load a model folder without `trust.champion`, and why it needs no signature.
UNPICKLES = {
    "evaluation/behavior.py": "the candidate, to see how long that takes",
    "evaluation/measure.py": "the candidate and its baselines, which this project has just trained",
    "lineage/score_again.py": "the release whose digest was compared, and what was just made again",
    "testing/monitor.py": "the candidate of a rehearsal",
    "testing/pipeline.py": "the candidate of a rehearsal",
    "faults/drill.py": "the candidate of a scratch clone",
    "faults/model.py": "a model that was just fitted",
}
NO_CHAMPION = "No model is in service here.\n  Run: uv run mlops promote, or uv run mlops follow"


def loads_models(path: Path) -> bool:
    """Whether a module of the library uses `model_folder.load`."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module == "mlgates.model_folder":
            if any(alias.name == "load" for alias in node.names):
                return True
        elif isinstance(node, ast.Attribute) and ast.unparse(node) == "model_folder.load":
            return True
    return False


def test_no_other_module_unpickles_a_released_model() -> None:
    users = set()
    for path in SOURCE.rglob("*.py"):
        if loads_models(path):
            users.add(path.relative_to(SOURCE).as_posix())
    assert users == {*UNPICKLES, "trust/champion.py"}


def test_without_a_champion_all_say_the_same(empty: Project) -> None:
    def distributions(*_: Any) -> Any:
        raise AssertionError("nothing is there to be compared")

    assert refusal(monitoring.watch_champion, empty, distributions, distributions) == NO_CHAMPION
    assert refusal(local_rollback.now, empty, "complaints") == NO_CHAMPION
    assert champion.read_pointer_if_any(empty) == {}


def test_a_damaged_pointer_stops_those_who_read_it_and_not_those_who_write_it(
    empty: Project,
) -> None:
    (empty.root / CHAMPION).parent.mkdir()
    (empty.root / CHAMPION).write_text("{")
    assert (
        refusal(champion.read_pointer, empty)
        == "champion.json is damaged.\n  Run: uv run mlops follow"
    )
    assert champion.read_pointer_if_any(empty) == {}


def test_a_champion_that_is_not_here_is_refused_in_the_same_words(empty: Project) -> None:
    expected = "The champion f00dface is not on this machine.\n  Run: uv run mlops follow"
    assert refusal(champion.load_served, empty, {"fingerprint": "f00dface"}) == expected
    assert refusal(evaluation.measure.champion, empty, "f00dface", None) == expected


def test_what_is_put_in_service_is_what_is_read(empty: Project) -> None:
    written = {"release": "v1.0.0", "fingerprint": "f00d"}
    champion.put_in_service(empty, written)
    assert champion.read_pointer(empty) == written


def pointer(**changed: Any) -> dict[str, Any]:
    """What var/champion.json says of a model that the gate let pass."""
    report = Report("gate", [Check("gate.finite", Verdict.OK)], {"model": "f00d"})
    return {"release": "v1.0.0", "digest": "f00d", "report": report.to_dict()} | changed


def test_a_model_that_the_gate_let_pass_is_judged() -> None:
    champion.require_verdict(pointer())


def test_a_model_without_a_verdict_of_its_own_is_refused() -> None:
    never = refusal(champion.require_verdict, pointer(report=None))
    assert never.startswith("serving.verdict: v1.0.0 was never judged.")
    other = refusal(champion.require_verdict, pointer(digest="beef"))
    assert (
        other == "serving.verdict: the verdict on v1.0.0 is about another model (f00d, not beef)."
    )


def test_a_model_that_the_gate_stopped_is_refused_unless_somebody_overrode_it() -> None:
    failed = Report("gate", [Check("gate.finite", Verdict.FAIL)], {"model": "f00d"}).to_dict()
    stored = failed | {"verdict": "ok"}  # as somebody may have edited it
    message = refusal(champion.require_verdict, pointer(report=stored))
    assert message.startswith("serving.verdict: the gate says fail of v1.0.0, ")
    champion.require_verdict(pointer(report=stored, override={"by": "Ada"}))


@pytest.mark.parametrize(
    ("requirement", "may_differ"),
    [("numpy=={major}.999", True), ("numpy==0.1", False), ("no-such-library==1.0", False)],
)
def test_only_versions_that_can_read_the_model_are_accepted(
    tmp_path: Path, requirement: str, may_differ: bool
) -> None:
    major = np.__version__.partition(".")[0]
    (tmp_path / "requirements.txt").write_text(requirement.format(major=major))
    if may_differ:
        champion.require_libraries(tmp_path)
    else:
        assert refusal(champion.require_libraries, tmp_path).startswith(
            "serving.library: the model needs "
        )
