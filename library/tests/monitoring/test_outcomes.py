"""`mlops outcomes FILE`: all or nothing, once, and only for what was predicted."""

import pandas as pd
import pytest

from mlgates import Project
from mlgates.contract import Contract
from mlgates.errors import ProjectError
from mlgates.layout import OUTCOMES
from mlgates.monitoring.outcomes import record
from mlgates.serving import prediction_log
from worlds import World


def hand_in(project: Project, rows: pd.DataFrame, suffix: str) -> str:
    """Write key and outcome of rows to a file, and hand that in."""
    path = project.root / f"outcomes{suffix}"
    contract = project.contract
    given = rows[[*prediction_log.key_columns(contract), contract.outcome.name]]
    if suffix == ".csv":
        given.to_csv(path, index=False)
    else:
        given.to_parquet(path, index=False)
    return record(project, path)


def broken(contract: Contract, rows: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Rows that break the contract, by the rule that they break."""
    name = contract.outcome.name
    values = rows[name].astype(object)
    other = rows.loc[rows[name] != rows[name].iloc[-1], name].iloc[0]
    nonsense = "data.category" if contract.outcome.kind == "category" else "data.type"
    return {
        nonsense: rows.assign(**{name: values.where(rows.index != 3, "nonsense")}),
        "data.missing": rows.assign(**{name: values.mask(rows.index == 3)}),
        "data.unique_key": pd.concat([rows, rows.tail(1).assign(**{name: other})]),
    }


def test_outcomes_of_a_service_that_never_answered_are_refused(
    installed: Project, world: World
) -> None:
    with pytest.raises(ProjectError, match="was ever predicted"):
        hand_in(installed, world.resample(0, 10), ".csv")


def test_outcomes_are_taken_once_and_only_for_what_was_predicted(
    installed: Project, world: World
) -> None:
    contract, path = world.contract, installed.root / OUTCOMES
    rows = world.resample(0, 300)
    predicted = len(rows.head(200))
    world.write_log(installed, world.served(rows.head(200)))
    counts = f"{predicted} recorded, 0 known already, {len(rows) - predicted} refused"
    assert hand_in(installed, rows, ".csv").startswith(f"outcomes: {counts}")
    before = path.read_bytes()
    counts = f"0 recorded, {predicted} known already"
    assert hand_in(installed, rows, ".parquet").startswith(f"outcomes: {counts}")
    assert path.read_bytes() == before
    for rule, bad in broken(contract, rows).items():
        with pytest.raises(ProjectError, match=rule):
            hand_in(installed, bad, ".csv")
    assert path.read_bytes() == before
    stored = prediction_log.outcomes(installed)
    assert len(stored) == predicted
    assert set(contract.target(stored)) <= set(contract.target(rows))


def test_a_damaged_database_of_outcomes_is_named(installed: Project, world: World) -> None:
    known = world.known(world.resample(0, 5))
    path = installed.root / OUTCOMES
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"no database" * 100)
    with pytest.raises(ProjectError, match=r"outcomes\.db cannot be read or written"):
        prediction_log.outcomes(installed)
    with pytest.raises(ProjectError, match=r"outcomes\.db cannot be read or written"):
        prediction_log.record(installed, known)
