"""The prediction log, the recorded labels and the online store hold no erased row."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates.layout import PREDICTIONS
from mlgates.privacy import databases
from mlgates.privacy.erase import erase
from mlgates.serving.prediction_log import ID
from traces import traces

ADA, BOB = "Xq9ZunmistakableAda", "Kj7VanotherBob"


def test_logs_are_wiped_while_the_service_writes_them(
    before: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    def impatient(path: Path) -> "closing[sqlite3.Connection]":
        return closing(sqlite3.connect(path, timeout=0.1, isolation_level=None))

    project, logs = before.project, "ada/var/predictions"
    service = sqlite3.connect(before.root / PREDICTIONS / "1.db", isolation_level=None)
    insert = f"INSERT INTO predictions ({ID}, customer) VALUES (?, ?)"
    service.execute("PRAGMA journal_mode = WAL")
    service.execute(insert, ("x", ADA))
    # two answers, an outcome, and her visits
    assert "4 rows taken out" in erase(project, [ADA], column="customer")
    assert traces(before, ADA, logs) == []
    service.execute(insert, ("y", "hal"))
    assert service.execute("SELECT count(*) FROM predictions").fetchone() == (5,)

    monkeypatch.setattr(databases, "open_database", impatient)
    service.execute("BEGIN")
    service.execute("SELECT * FROM predictions").fetchone()
    message = refusal(erase, project, [BOB], column="customer")
    assert "1.db still holds what was erased" in message
    service.execute("COMMIT")
    assert "rows taken out" in erase(project, [])
    assert traces(before, BOB, logs) == []
    service.execute(insert, ("z", "asked once"))
    assert "1 tombstones" in erase(project, ["asked once"], column="customer")
    service.close()
