"""Requests for the tests of the service and of what is under it."""

from collections.abc import Callable
from typing import Any

import pytest

from mlgates.contract import Contract

Body = Callable[..., dict[str, Any]]


@pytest.fixture(scope="session")
def body(sample: Any, contract: Contract) -> Body:
    """`body(n)` is a request of n good rows.

    `body(n, column=value)` changes a column of every row; the value `...` leaves the column out.
    """
    rows = contract.payload(sample.rows.head(1_000))

    def make(n: int, **changes: Any) -> dict[str, Any]:
        changed_rows = []
        for row in rows[:n]:
            changed = {**row, **changes}
            present = {name: value for name, value in changed.items() if value is not ...}
            changed_rows.append(present)
        return {"rows": changed_rows}

    return make
