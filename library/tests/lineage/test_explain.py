"""A prediction is explained: each step is computed again, and each feature has a contribution."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.lineage.explain import Explained, contributions, explain, explained
from mlgates.verdict import Verdict
from worlds import World, shop_world


@pytest.fixture(scope="module")
def shop(project: Project) -> World:
    """A contract with a category, numbers and a look-up."""
    return shop_world(project)


@pytest.fixture(scope="module")
def rows(shop: World) -> pd.DataFrame:
    """Healthy rows."""
    return shop.resample(0, 50)


def explained_row(
    shop: World, logged: pd.DataFrame, tables: Mapping[str, pd.DataFrame]
) -> Explained:
    """The explanation of the first of some logged rows."""
    first = logged.head(1)
    return explained(shop.contract, shop.scorer, shop.reference, first, tables)


def test_a_prediction_that_was_computed_rightly_is_ok(shop: World, rows: pd.DataFrame) -> None:
    report = explained_row(shop, shop.served(rows), {})
    assert report["explain.features"].verdict is Verdict.OK
    assert report["explain.score"].verdict is Verdict.OK
    lookup = report["explain.lookup"]
    assert (lookup.verdict, lookup.required) == (Verdict.INCONCLUSIVE, False)
    assert report.verdict is Verdict.OK


def test_a_value_that_the_tables_do_not_have_is_found(shop: World, rows: pd.DataFrame) -> None:
    (look,) = shop.contract.lookups
    first = rows.iloc[0]
    days = [-10, -1, 1]  # relative to the request: the value of the day before is the one to find
    table = pd.DataFrame({"shop": first["shop"], "price": first["price"] + 1.0}, index=days)
    table["known"] = first["asked"] + pd.to_timedelta(days, unit="D")
    report = explained_row(shop, shop.served(rows), {look.name: table})
    assert report["explain.lookup"].verdict is Verdict.FAIL
    assert report["explain.lookup"].evidence.startswith(f"{look.name}.price: logged ")


@pytest.mark.parametrize(
    ("column", "check"), [("feature__size", "features"), ("score", "score"), ("decision", "score")]
)
def test_a_step_that_was_changed_is_found(
    shop: World, rows: pd.DataFrame, column: str, check: str
) -> None:
    logged = shop.served(rows)
    changed = {"decision": ~logged["decision"].astype(bool)}
    if column != "decision":
        changed = {column: logged[column] + 0.01}
    report = explained_row(shop, logged.assign(**changed), {})
    assert report[f"explain.{check}"].verdict is Verdict.FAIL


def test_the_tables_show_words_and_the_largest_contribution_first(
    shop: World, rows: pd.DataFrame
) -> None:
    logged = shop.served(rows)
    columns, features = explained_row(shop, logged, {}).parts
    shown = {name: value for name, value, _ in features[1:]}
    assert shown["shop"] == logged["shop"].iloc[0]
    sizes = [abs(float(gain)) for _, _, gain in features[1:]]
    assert sizes == sorted(sizes, reverse=True)
    ages = {part: age for part, _, _, age in columns[1:]}
    (look,) = shop.contract.lookups
    assert ages == {"request": "", look.name: "0 s"}


def test_a_feature_contributes_what_the_score_loses_without_it(shop: World) -> None:
    class Sum:
        """A model whose score is the sum of its features."""

        def score(self, matrix: np.ndarray) -> np.ndarray:
            return np.asarray(matrix.sum(axis=1))

    reference = np.column_stack([np.linspace(0, 1, 1_000), np.full(1_000, 3.0)])
    gains = contributions(Sum(), np.array([2.0, 3.0]), reference)  # type: ignore[arg-type]
    assert gains == pytest.approx([1.5, 0.0], abs=0.01)


def test_a_prediction_that_was_never_logged_is_refused(reigning: Clone) -> None:
    message = refusal(explain, reigning.project, "p9")
    assert "The prediction log of this machine has no 'p9'." in message
    assert "Each answer has its id, such as " in message
