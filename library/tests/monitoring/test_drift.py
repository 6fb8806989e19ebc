"""What has moved is found by its name, with its size, and not taken for a fault of the service."""

import numpy as np

from mlgates.contract import Column
from mlgates.verdict import Verdict
from worlds import MILE, World, failed, is_number, pick


def may_vanish(column: Column) -> bool:
    """A column whose values may be missing."""
    missing = column.nullable or column.source != "request"
    return column.kind in ("float", "category", "text") and missing


def test_a_unit_changed_upstream_is_drift_and_no_skew(world: World, shop: World) -> None:
    world, column = pick(is_number, world, shop)
    rows = world.resample(0)
    changed = rows.assign(**{column.name: rows[column.name] * MILE})
    report = world.watched(world.served(changed))
    assert report[f"monitor.drift.{column.name}"].verdict is Verdict.FAIL
    if column.high is not None:
        assert report["monitor.contract"].verdict is Verdict.FAIL
        assert column.name in report["monitor.contract"].evidence
    assert not [name for name in failed(report) if name.startswith("skew.")]


def test_values_that_vanish_are_seen(world: World, shop: World) -> None:
    world, column = pick(may_vanish, world, shop)
    rows = world.resample(0)
    rows.loc[rows.index % 3 == 0, column.name] = np.nan if column.is_number else None
    report = world.watched(world.served(rows))
    assert f"monitor.missing.{column.name}" in failed(report)


def test_columns_that_move_together_fail(world: World) -> None:
    rows = world.resample(0)
    stuck = {}
    for name in world.scorer.plan.columns:
        stuck[name] = rows[name].value_counts().index[-1]
    report = world.watched(world.served(rows.assign(**stuck)))
    assert {"monitor.drifted_share", "monitor.prediction_drift"} <= failed(report)
