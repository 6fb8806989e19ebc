"""A service that computes differently from training is found by feature, and not taken as drift."""

from typing import Any

from mlgates import lookups
from mlgates.contract import Column
from mlgates.faults.rows import synthetic_lookup
from mlgates.monitoring.watch import Watched
from mlgates.verdict import Verdict
from worlds import MILE, World, failed, is_number, pick


def skewed(report: Watched) -> set[str]:
    """The checks of skew that fail."""
    return {name for name in failed(report) if name.startswith("skew.")}


def is_looked_up(column: Column) -> bool:
    """A number that a look-up gives."""
    return column.is_number and column.source not in ("request", "outcome")


def test_a_unit_changed_in_the_serving_path_is_skew_and_no_drift(world: World, shop: World) -> None:
    world, column = pick(is_number, world, shop)
    rows, plan = world.resample(0), world.scorer.plan
    inside = rows.assign(**{column.name: rows[column.name] * MILE})
    report = world.watched(world.served(rows, inside=inside))
    touched = {f"skew.{name}" for name in plan.names if column.name in plan.ancestors(name)}
    assert touched & failed(report)
    assert skewed(report) <= touched
    for name in failed(report):
        assert not name.startswith(("monitor.drift.", "monitor.contract"))


def test_a_look_up_that_is_served_otherwise_than_trained_is_skew(world: World, shop: World) -> None:
    world, column = pick(is_looked_up, world, shop)
    contract, rows = world.contract, world.resample(0, 2_000)
    tables = {look.name: synthetic_lookup(contract, look, rows) for look in contract.lookups}
    for look in contract.lookups:
        rows = rows.drop(columns=list(contract.from_source(look.name)))
    rows = lookups.join(rows, contract, tables)
    check = f"skew.{column.source}.{column.name}"
    healthy = world.watched(world.served(rows), tables=tables)
    assert healthy[check].verdict is Verdict.OK
    other = rows.assign(**{column.name: rows[column.name] * 1.8 + 32})
    faulty = world.watched(world.served(other.head(400)), tables=tables)
    assert skewed(faulty) == {check}
    unreached = world.watched(world.served(rows.head(400)))[f"skew.{column.source}.*"]
    assert unreached.verdict is Verdict.INCONCLUSIVE
    assert not unreached.required


def test_a_word_that_the_contract_does_not_know_is_seen_at_once(world: World, shop: World) -> None:
    world, column = pick(lambda column: column.kind == "category", world, shop)
    rows = world.resample(0, 20)
    rows.loc[3, column.name] = "no such word"
    check = world.watched(world.served(rows))["monitor.contract"]
    assert check.verdict is Verdict.FAIL
    assert f"data.category {column.name} (1)" in check.evidence


def test_a_score_or_a_decision_that_is_not_the_models_is_seen(world: World) -> None:
    contract, logged = world.contract, world.served(world.resample(0, 50))
    wrong = logged.assign(score=logged["score"].to_numpy()[::-1])
    assert "skew.score" in failed(world.watched(wrong))
    decision: Any = -1.0
    if contract.outcome.kind == "bool":
        decision = ~logged["decision"].astype(bool)
    elif contract.task != "regression":
        decision = contract.classes[-1]
    rows = logged.assign(decision=decision)
    assert "decision" in world.watched(rows)["monitor.contract"].evidence
