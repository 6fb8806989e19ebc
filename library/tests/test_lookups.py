"""Look-ups: joined as of the moment of each decision, and never guessed."""

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel
from shop import CONTRACT, Order, Outcome, Shop

from mlgates.contract import Contract, Lookup
from mlgates.errors import ProjectError
from mlgates.lookups import join
from mlgates.training.split import with_required_lookups


@pytest.mark.parametrize("seed", range(20))
def test_what_becomes_known_later_changes_no_older_row(seed: int) -> None:
    random = np.random.default_rng(seed)
    start = pd.Timestamp("2026-01-01")
    asked = start + pd.to_timedelta(np.sort(random.uniform(0, 100, 50)), "h")
    rows = pd.DataFrame({"shop": random.choice(["a", "b"], 50), "at": asked})
    known = start + pd.to_timedelta(random.uniform(-5, 105, 200), "h")
    table = pd.DataFrame(
        {"shop": random.choice(["a", "b"], 200), "known": known, "price": random.normal(size=200)}
    )

    # Everything that becomes known after `now` is changed or deleted.
    now = asked[25]
    is_later = table["known"] > now
    changed = table.assign(price=table["price"].mask(is_later, 99.0))
    changed = changed.drop(index=table.index[is_later][::2])

    is_older = rows["at"] <= now
    before = join(rows, CONTRACT, {"price": table})["price"]
    after = join(rows, CONTRACT, {"price": changed})["price"]
    pd.testing.assert_series_equal(before[is_older], after[is_older])


class Known(BaseModel):
    price: float


def test_a_looked_up_value_that_the_contract_demands_is_never_guessed() -> None:
    strict = Contract(
        Order, Outcome, [Lookup(Known, on="shop", at="at", time="known", max_age="2h")], key=["id"]
    )
    rows = Shop().made(1).head(4).assign(price=[1.0, np.nan, 2.0, np.nan])
    assert strict.missing_lookups(strict.arrays(rows))["price"].tolist() == [1, 3]
    assert with_required_lookups(strict, rows, "train")["price"].tolist() == [1.0, 2.0]
    assert with_required_lookups(CONTRACT, rows, "train") is rows
    with pytest.raises(ProjectError, match="Every row of train lacks a look-up value"):
        with_required_lookups(strict, rows.iloc[[1, 3]], "train")
