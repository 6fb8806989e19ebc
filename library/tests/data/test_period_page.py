"""The page of the newest period: what it shows of the periods before."""

import pandas as pd
from shop import CONTRACT, Shop

from mlgates.data.period_page import page
from mlgates.verdict import Check, Report, Verdict


def page_of(prices_before: pd.DataFrame, prices_now: pd.DataFrame) -> str:
    """The page of period 2, with period 1 before it."""
    shop = Shop()
    facts = {"rows": {"read": 600, "kept": 600, "quarantined": 0}}
    report = Report("period", [Check("data.range", Verdict.OK, 0.0)], facts)
    tables = {"1": [shop.rows["1"], prices_before], "2": [shop.rows["2"], prices_now]}
    return page(CONTRACT, {"1": report, "2": report}, tables)


def test_a_column_that_a_lookup_repeats_is_drawn_from_the_rows_alone() -> None:
    prices = Shop().lookup("price", "1").assign(price=float("nan"))
    assert (prices["shop"] == "a").all(), "so it would change the shares of the shops"
    assert page_of(prices, prices) == page_of(prices.head(0), prices)
