"""Faults in the data, caught by validate."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, reads, to_array
from mlgates.data import partitions
from mlgates.data.comparison import compare, measure_delivery
from mlgates.data.drift import association
from mlgates.data.period_checks import check_erased, check_manifest, check_min_rows
from mlgates.data.poisoning import MANY_VALUES, is_id
from mlgates.data.table_checks import check_table
from mlgates.data.tombstones import Tombstone, Tombstones, hashed, texts
from mlgates.drift import Method, distance
from mlgates.faults.planting import (
    METRES_PER_MILE,
    Bench,
    NotApplicable,
    fault,
    healthy,
    scrambled,
    strict,
)
from mlgates.files import temporary_folder
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd


def delivery(bench: Bench) -> "pd.DataFrame":
    """Healthy rows as data.py would deliver them: always the same sample of `bench.size` rows."""
    return bench.request_rows(bench.resample(0))


def checked(bench: Bench, rows: "pd.DataFrame") -> Report:
    """The report of the real check on rows as data.py would deliver them."""
    limits = bench.settings.validate
    report, _, _ = check_table(rows, bench.contract, limits, bench.wiring("validate").check)
    report.add(check_min_rows(len(rows), limits))
    return report


def measure_period(bench: Bench, rows: "pd.DataFrame", last: float | None = None) -> dict[str, Any]:
    """What validate measures of a period; `last` is the end of the period before (unix seconds)."""
    return measure_delivery(bench.contract, rows, last, bench.settings.validate)


def compared(
    bench: Bench, rows: "pd.DataFrame", *, follows: bool = True, late: float = 0.0
) -> Report:
    """Drift and signs of poisoning in rows, against two earlier periods of healthy rows.

    If `follows`, the rows' times count as those of the period after the two. `late` is the share of
    rows that belong to the period before.
    """
    import pandas as pd

    contract, limits = bench.contract, bench.settings.validate
    earlier_rows = bench.thirds[1:]
    earlier = bench.computed(
        "delivered", lambda: [measure_period(bench, part) for part in earlier_rows]
    )

    now = measure_period(bench, rows)
    now["late"] = late
    if contract.time and follows:
        newest = earlier[-1]
        length = newest["last"] - newest["first"]
        now["last"] = newest["last"] + length

    report = Report("period", facts={"signs": now})
    samples = [pd.concat(earlier_rows, ignore_index=True)], [rows]
    compare(report, contract, earlier, samples, limits)
    return report


@healthy("delivery")
def healthy_delivery(bench: Bench, seed: int) -> Report:
    """A period like the ones before."""
    rows = bench.thirds[0].sample(frac=0.9, random_state=seed).reset_index(drop=True)
    report = compared(bench, rows)
    return strict(report)


@healthy("validate")
def healthy_rows(bench: Bench, seed: int) -> Report:
    """Rows that are as they should be."""
    return checked(bench, bench.request_rows(bench.resample(seed)))


@fault("a number arrives as text", caught_by="data.type", row="Data 1")
def wrong_type(bench: Bench) -> Report:
    """A number column becomes words."""
    rows, name = delivery(bench), bench.number.name
    words = rows[name].map("{:,} units".format)
    return checked(bench, rows.assign(**{name: words}))


@fault("5 % of a column lie beyond its bound", caught_by="data.range", row="Data 1")
def out_of_range(bench: Bench) -> Report:
    """Every twentieth value is just above the upper bound."""
    rows, column = delivery(bench), bench.number
    too_high = int(column.high or 0) + 1
    values = rows[column.name].mask(rows.index % 20 == 0, too_high)
    return checked(bench, rows.assign(**{column.name: values}))


@fault("upstream changes a unit", caught_by="data.range", row="Data 1")
def unit_change(bench: Bench) -> Report:
    """Miles become metres."""
    rows, name = delivery(bench), bench.number_that_leaves_bounds.name
    return checked(bench, rows.assign(**{name: rows[name] * METRES_PER_MILE}))


@fault("a column goes missing", caught_by="data.columns", row="Data 1")
def missing_column(bench: Bench) -> Report:
    """Upstream drops a column."""
    return checked(bench, delivery(bench).drop(columns=bench.first_column))


@fault("a forbidden column arrives", caught_by="data.forbidden", row="Data 4")
def forbidden_column(bench: Bench) -> Report:
    """Upstream delivers what only the future knows."""
    if not bench.contract.forbidden:
        raise NotApplicable("the contract forbids no column")
    name = bench.contract.forbidden[0]
    return checked(bench, delivery(bench).assign(**{name: 1.0}))


@fault("an erased person is delivered again", caught_by="data.erased", row="Data 5")
def erased_again(bench: Bench) -> Report:
    """A tombstone names a row that the source still has."""
    contract, rows = bench.contract, delivery(bench)
    # Without a key, any column will do to recognize the first row.
    key = tuple(contract.key) or tuple(contract.request_columns)[:1]
    salt = "00"
    first_row = texts(contract, rows, key)[0]
    tombstone = Tombstone("", key, (), salt, hashed(first_row, salt), "")

    table = BytesIO(rows.to_parquet(index=False))
    check = check_erased(Tombstones(contract, (tombstone,)), [table])
    return Report("rows", [check])


@fault("rows arrive twice", caught_by="data.unique_key", row="Data 1")
def repeated_rows(bench: Bench) -> Report:
    """A delivery repeats a part of itself."""
    import pandas as pd

    bench.require_key()
    rows = delivery(bench)
    return checked(bench, pd.concat([rows, rows.head(20)], ignore_index=True))


@fault(
    "three rules are broken, each by few enough rows",
    caught_by="data.quarantine",
    row="Data 1",
    spared="data.range",
)
def many_small_faults(bench: Bench) -> Report:
    """No single rule is broken often enough to fail, but all three together are."""
    rows, number = delivery(bench), bench.number
    category = bench.column(lambda column: column.kind == "category", "category")

    def is_third(column: Column) -> bool:
        return not column.nullable and column.name not in (number.name, category.name)

    required = bench.column(is_third, "third column")
    bad_values: list[tuple[Column, Any]] = [
        (number, int(number.high or 0) + 1),
        (category, "?"),
        (required, None),
    ]
    # Just below the limit for one rule. Each rule is broken by rows of its own.
    rows_per_rule = int(len(rows) * bench.settings.validate.max_bad_share * 0.99)
    start = 0
    for column, bad_value in bad_values:
        is_bad = (rows.index >= start) & (rows.index < start + rows_per_rule)
        rows[column.name] = rows[column.name].astype(object).mask(is_bad, bad_value)
        start += rows_per_rule
    return checked(bench, rows.infer_objects())


@fault("a period of 3 rows", caught_by="data.min_rows", row="Data 1", expected=Verdict.INCONCLUSIVE)
def too_few_rows(bench: Bench) -> Report:
    """Almost nothing was delivered: that is not a pass."""
    return checked(bench, delivery(bench).head(3))


@fault("columns that do not go together", caught_by="data.rule", row="Data 1")
def impossible(bench: Bench) -> Report:
    """Each value is possible, the combination is not: one column comes from other rows."""
    contract, rows = bench.contract, delivery(bench)
    # Twice as many broken rows as are allowed, so that the fault is no close call.
    min_broken_rows = 2 * bench.settings.validate.max_bad_share * len(rows)
    for rule in contract.rules:
        for name in reads(rule):
            values = scrambled(rows[name].to_numpy())
            faulty = rows.assign(**{name: values})
            broken = contract.impossible(contract.arrays(faulty))[rule.__name__]
            if len(broken) > min_broken_rows:
                return checked(bench, faulty)
    raise NotApplicable("the contract has no rule that scrambling a column would break")


@fault("rows of an earlier period arrive again", caught_by="data.repeated", row="Data 1")
def delivered_again(bench: Bench) -> Report:
    """A tenth of the rows was delivered before."""
    bench.require_key()
    contract, rows = bench.contract, delivery(bench)
    earlier_keys = partitions.key_hashes(rows[::10], contract.key)
    report, _, _ = check_table(
        rows,
        contract,
        bench.settings.validate,
        bench.wiring("validate").check,
        earlier=earlier_keys,
    )
    return report


def _row_count_report(bench: Bench, *, lost_rows: int = 0, changed: bool = False) -> Report:
    """The checks of a closed period from which rows were lost, or whose outcomes were changed."""
    contract, rows = bench.contract, delivery(bench)
    closed = {"rows": len(rows), "sha256": partitions.content_hash(rows)}
    if changed:
        name = contract.outcome.name
        reversed_outcomes = rows[name].to_numpy()[::-1]
        rows = rows.assign(**{name: reversed_outcomes})

    validate = bench.wiring("validate").check
    report, kept, quarantine = check_table(rows, contract, bench.settings.validate, validate)
    with temporary_folder() as folder:
        partitions.write(kept.iloc[lost_rows:], folder / f"{partitions.ROWS}.parquet")
        partitions.write(quarantine, folder / f"{partitions.ROWS}.quarantine.parquet")
        checks = check_manifest(folder, partitions.ROWS, rows, closed, report)
    return Report("books", checks)


@healthy("books", seeds=1)
def healthy_books(bench: Bench, _: int) -> Report:
    """Nothing is lost and nothing was changed."""
    return _row_count_report(bench)


@fault(
    "one row is lost on the way", caught_by="data.row_count", row="Data 1", spared="data.manifest"
)
def lost_row(bench: Bench) -> Report:
    """A stage drops a row without a message."""
    return _row_count_report(bench, lost_rows=1)


@fault("a closed period is changed by hand", caught_by="data.manifest", row="Data 1")
def changed_by_hand(bench: Bench) -> Report:
    """Outcomes are exchanged between rows of data/raw.

    No rule is broken, and the number of rows stays the same.
    """
    return _row_count_report(bench, changed=True)


@fault("a column's values go missing", caught_by="drift.missing", row="Data 1")
def missing_share(bench: Bench) -> Report:
    """A fifth of a column's values is not delivered any more."""
    rows = bench.thirds[0]
    column = bench.column(lambda c: c.kind not in ("datetime", "text"), "number or category")
    values = rows[column.name]
    if column.kind in ("int", "bool"):
        # These types cannot hold a missing value.
        values = values.astype(float)
    with_gaps = values.mask(rows.index % 5 == 0)
    report = compared(bench, rows.assign(**{column.name: with_gaps}))
    report.facts["caught_by"] = f"drift.missing.{column.name}"
    return report


@fault("a column moves within its bounds", caught_by="drift.distribution", row="Data 1")
def moved(bench: Bench) -> Report:
    """The smaller seven tenths of a number are raised to the same value. No bound is broken."""
    rows, contract = bench.thirds[0], bench.contract
    for name, column in contract.request_columns.items():
        if column.kind not in ("int", "float") or name in contract.key:
            continue
        quantile = float(rows[name].quantile(0.7))
        larger = rows[name].clip(lower=quantile)
        before, after = to_array(column, rows[name]), to_array(column, larger)
        # Twice the limit, so that the fault is no close call.
        if distance(before, after, Method.WASSERSTEIN) > 2 * bench.settings.validate.drift_limit:
            report = compared(bench, rows.assign(**{name: larger}))
            report.facts["caught_by"] = f"drift.distribution.{name}"
            return report
    raise NotApplicable("no number of the request moves far enough within its bounds")


@fault("a column no longer goes with the outcome", caught_by="drift.association", row="Data 1")
def unrelated(bench: Bench) -> Report:
    """The column with the strongest association to the outcome has the values of other rows."""
    rows, contract = bench.thirds[0], bench.contract
    target, arrays = contract.target(rows), contract.arrays(rows)
    strengths: dict[str, float] = {}
    for name, column in contract.request_columns.items():
        if column.kind in ("datetime", "text"):
            continue
        strength = abs(association(arrays[name], target, column))
        # It is NaN if the column has one value only.
        if not np.isnan(strength):
            strengths[name] = strength

    # Scrambling leaves no association but that of chance. The factor 1.3 leaves room for it.
    needed = 1.3 * bench.settings.validate.drift_limit
    name = max(strengths, key=lambda name: strengths[name], default="")
    if not name or strengths[name] <= needed:
        raise NotApplicable("no column of the request has a strong association with the label")
    values = scrambled(rows[name].to_numpy())
    report = compared(bench, rows.assign(**{name: values}))
    report.facts["caught_by"] = f"drift.association.{name}"
    return report


@fault("the outcome's rate moves", caught_by="drift.label", row="Data 1")
def other_outcomes(bench: Bench) -> Report:
    """A third of the rows have the same, unusual outcome."""
    rows, name = bench.thirds[0], bench.contract.outcome.name
    outcomes = rows[name]
    if bench.contract.task == "regression":
        extremes = outcomes.min(), outcomes.max()
        unusual = max(extremes, key=lambda value: abs(value - outcomes.mean()))
    else:
        unusual = outcomes.value_counts().index[-1]
    faulty = outcomes.mask(rows.index % 3 == 0, unusual).astype(outcomes.dtype)
    return compared(bench, rows.assign(**{name: faulty}))


@fault("a fifth of a delivery arrives", caught_by="drift.volume", row="Data 1")
def partial(bench: Bench) -> Report:
    """A job upstream stopped early."""
    return compared(bench, bench.thirds[0][::5].reset_index(drop=True))


@fault("a tenth of a delivery are copies with new keys", caught_by="drift.duplicates", row="Data 1")
def copies(bench: Bench) -> Report:
    """A join upstream multiplies rows."""
    rows, contract, limits = bench.thirds[0], bench.contract, bench.settings.validate
    ids = []
    for name in contract.key:
        if contract.columns[name].kind != "datetime" and is_id(rows[name]):
            ids.append(name)
    if contract.key and not ids:
        raise NotApplicable("no column of the key numbers the rows, so a copy has no new key")

    # A tenth of the rows is replaced, by copies of another tenth. So two tenths have a twin then.
    # Only rows that had no twin before make the share rise.
    rise = 0.2 * (1 - measure_period(bench, rows)["alike"])
    if rise < 2 * limits.drift_duplicates:
        raise NotApplicable("most healthy rows have duplicates")

    positions = np.where(rows.index % 10 == 1, rows.index - 1, rows.index)
    twins = rows.iloc[positions].reset_index(drop=True)
    return compared(bench, _with_columns_of(twins, rows, ids))


def _with_columns_of(
    rows: "pd.DataFrame", source: "pd.DataFrame", names: list[str]
) -> "pd.DataFrame":
    """`rows`, with some columns replaced by those of `source`."""
    columns = {name: source[name] for name in names}
    return rows.assign(**columns)


@fault("the newest rows are old", caught_by="drift.freshness", row="Mon 1")
def stale(bench: Bench) -> Report:
    """The same days are delivered as before."""
    bench.require_time()
    return compared(bench, bench.thirds[0], follows=False)


@fault("a tenth of the rows is late", caught_by="drift.late", row="Data 1")
def late(bench: Bench) -> Report:
    """They belong to the period before."""
    time = bench.require_time()
    rows = bench.thirds[0]
    seconds = rows[time].to_numpy(dtype="datetime64[us]").astype(float) / 1e6
    end_of_period_before = float(np.quantile(seconds, 0.1))
    late_share = measure_period(bench, rows, end_of_period_before)["late"]
    # If many rows share a moment, far less than a tenth may be older than it.
    if late_share < 1.5 * bench.settings.validate.drift_late:
        raise NotApplicable("the times are too coarse")
    return compared(bench, rows, late=late_share)


@fault("1 % of the rows carry a constant trigger", caught_by="poison.trigger", row="ML02")
def trigger(bench: Bench) -> Report:
    """A value that hardly occurs is planted in a column of many values."""
    rows = bench.thirds[0]
    # `poison.trigger` looks at values below a fifth of its limit. Half of that is no close call.
    max_share = bench.settings.validate.max_trigger_share / 5 / 2
    for name, column in bench.contract.request_columns.items():
        if column.kind == "bool":
            continue
        shares = bench.rows[name].value_counts(normalize=True)
        # Twice as many values as the check asks for: a third of the rows may not have them all.
        if len(shares) > 2 * MANY_VALUES and shares.iloc[-1] < max_share:
            rarest = shares.index[-1]
            values = rows[name].mask(rows.index % 100 == 0, rarest)
            return compared(bench, rows.assign(**{name: values}))
    raise NotApplicable("no column of the request has many values of which some are rare")


@fault("a flood of near-identical rows", caught_by="poison.near_duplicates", row="ML02")
def flood(bench: Bench) -> Report:
    """One row in thirty is the same, except for its key and its times."""
    rows, contract = bench.thirds[0], bench.contract
    kept_columns = []
    for name, column in contract.request_columns.items():
        numbers_rows = name in contract.key and is_id(rows[name])
        if column.kind == "datetime" or numbers_rows:
            kept_columns.append(name)
    if len(kept_columns) == len(contract.request_columns):
        raise NotApplicable("the request has nothing but its key and times")

    positions = np.where(rows.index % 30 == 0, 0, rows.index)
    flooded = rows.iloc[positions].reset_index(drop=True)
    return compared(bench, _with_columns_of(flooded, rows, kept_columns))


@fault("outcomes of one slice are flipped", caught_by="poison.label_flips", row="ML02")
def flipped(bench: Bench) -> Report:
    """A sixth of the outcomes of the largest slice are changed."""
    rows, contract = bench.thirds[0], bench.contract
    doubt = measure_period(bench, rows)["doubt"]
    if len(doubt) < 2:
        raise NotApplicable("there are no two slices with enough rows, or the label is a number")

    # For each slice: the share of wrong outcomes among the rows that are predicted with most
    # confidence, and the number of these rows.
    largest = max(doubt, key=lambda name: doubt[name][1])
    wrong_share, confident_rows = doubt[largest]
    # A flip turns a right outcome into a wrong one, and the other way round. The rise must be well
    # above the check's own limit of four standard errors.
    rise = (1 - 2 * wrong_share) / 6
    standard_error = np.sqrt(wrong_share * (1 - wrong_share) / confident_rows)
    if rise < 6 * standard_error:
        raise NotApplicable("the labels are too hard to predict to notice flipped ones")

    column, _, word = largest.partition("=")
    is_flipped = (rows[column].astype(str) == word) & (rows.index % 6 == 0)
    classes = np.asarray(contract.classes)
    if contract.outcome.kind == "bool":
        classes = np.asarray([False, True])
    codes = contract.target(rows).astype(int)
    next_class = classes[(codes + 1) % len(classes)]

    name = contract.outcome.name
    outcomes = np.where(is_flipped, next_class, rows[name])
    report = compared(bench, rows.assign(**{name: outcomes}))
    report.facts["caught_by"] = f"poison.label_flips.{largest}"
    return report
