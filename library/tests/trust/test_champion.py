"""The champion is found, verified and loaded in one way: whoever misses something says the same sentence."""

import ast
from pathlib import Path
from typing import Any

import mlgates
from clones import refusal
from mlgates import Project, evaluation, monitoring
from mlgates.layout import CHAMPION
from mlgates.registry import local_rollback
from mlgates.trust import champion

SOURCE = Path(mlgates.__file__).parent
UNPICKLES = {  # whoever loads a model folder without `trust.champion`, and why nobody need vouch for it
    "evaluation/behavior.py": "the candidate, to see how long that takes",
    "evaluation/measure.py": "the candidate and its baselines, which this project has just trained",
    "lineage/score_again.py": "the release whose digest was compared, and what was just made again",
    "testing.py": "the candidate of a rehearsal",
    "faults/features.py": "the candidate of a scratch clone",
    "faults/model.py": "a model that was just fitted",
}
NOBODY = "No model is in service here.\n  Run: uv run mlops promote, or uv run mlops follow"


def test_nobody_else_unpickles_a_released_model() -> None:
    users = set()
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module == "mlgates.model_folder":
                users |= {path for alias in node.names if alias.name == "load"}
            elif isinstance(node, ast.Attribute) and ast.unparse(node) == "model_folder.load":
                users.add(path)
    assert {path.relative_to(SOURCE).as_posix() for path in users} == {
        *UNPICKLES,
        "trust/champion.py",
    }


def test_without_a_champion_all_say_the_same(empty: Project) -> None:
    def distributions(*_: Any) -> Any:
        raise AssertionError("nothing is there to be compared")

    assert refusal(monitoring.watch_champion, empty, distributions, distributions) == NOBODY
    assert refusal(local_rollback.now, empty, "complaints") == NOBODY
    assert champion.in_service_or_nothing(empty) == {}


def test_a_damaged_pointer_is_told_by_those_who_read_it_and_passed_over_by_those_who_write_it(
    empty: Project,
) -> None:
    (empty.root / CHAMPION).parent.mkdir()
    (empty.root / CHAMPION).write_text("{")
    assert (
        refusal(champion.in_service, empty)
        == "champion.json is damaged.\n  Run: uv run mlops follow"
    )
    assert champion.in_service_or_nothing(empty) == {}


def test_a_champion_that_is_not_here_is_told_in_the_same_words(empty: Project) -> None:
    expected = "The champion f00dface is not on this machine.\n  Run: uv run mlops follow"
    assert refusal(champion.load_served, empty, {"fingerprint": "f00dface"}) == expected
    assert refusal(evaluation.measure.champion, empty, "f00dface", None) == expected


def test_what_is_put_in_service_is_what_is_read(empty: Project) -> None:
    pointer = {"release": "v1.0.0", "fingerprint": "f00d"}
    champion.put_in_service(empty, pointer)
    assert champion.in_service(empty) == pointer
