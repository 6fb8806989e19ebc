"""Faults in the data, caught by validate."""

from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Column, reads, to_array
from mlgates.data import partitions
from mlgates.data.drift import association
from mlgates.data.poisoning import MANY_VALUES, is_id
from mlgates.data.tombstones import Tombstone, Tombstones, hashed, texts
from mlgates.data.validation import books, check_table, compare, delivered, enough, forgotten
from mlgates.drift import Method, distance
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, scrambled, strict
from mlgates.files import temporary_folder
from mlgates.verdict import Report, Verdict

if TYPE_CHECKING:
    import pandas as pd


def checked(bench: Bench, rows: "pd.DataFrame") -> Report:
    """The report of the real check on rows as data.py would deliver them."""
    limits = bench.settings.validate
    report, _, _ = check_table(rows, bench.contract, limits, bench.wiring("validate").check)
    report.add(enough(len(rows), limits))
    return report


def compared(
    bench: Bench, rows: "pd.DataFrame", *, follows: bool = True, late: float = 0.0
) -> Report:
    """Drift and signs of poison in rows against two periods of other healthy rows, which they follow in time."""
    import pandas as pd

    contract, limits, before = bench.contract, bench.settings.validate, bench.thirds[1:]
    known = bench.once(
        "delivered", lambda: [delivered(contract, part, None, limits) for part in before]
    )
    now = delivered(contract, rows, None, limits) | {"late": late}
    if contract.time and follows:
        now["last"] = 2 * known[-1]["last"] - known[-1]["first"]
    report = Report("period", facts={"signs": now})
    compare(report, contract, known, ([pd.concat(before, ignore_index=True)], [rows]), limits)
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
    rows, name = bench.request_rows(bench.resample(0)), bench.number.name
    return checked(bench, rows.assign(**{name: rows[name].map("{:,} units".format)}))


@fault("5 % of a column lie beyond its bound", caught_by="data.range", row="Data 1")
def out_of_range(bench: Bench) -> Report:
    """Every twentieth value is just above the upper bound."""
    rows, column = bench.request_rows(bench.resample(0)), bench.number
    every = rows.index % 20 == 0
    return checked(
        bench,
        rows.assign(**{column.name: rows[column.name].mask(every, int(column.high or 0) + 1)}),
    )


@fault("upstream changes a unit", caught_by="data.range", row="Data 1")
def unit_change(bench: Bench) -> Report:
    """Miles become metres."""
    rows, name = bench.request_rows(bench.resample(0)), bench.moving.name
    return checked(bench, rows.assign(**{name: rows[name] * 1609}))


@fault("a column goes missing", caught_by="data.columns", row="Data 1")
def missing_column(bench: Bench) -> Report:
    """Upstream drops a column."""
    return checked(bench, bench.request_rows(bench.resample(0)).drop(columns=bench.first))


@fault("a forbidden column arrives", caught_by="data.forbidden", row="Data 4")
def forbidden_column(bench: Bench) -> Report:
    """Upstream delivers what only the future knows."""
    if not bench.contract.forbidden:
        raise NotApplicable("the contract forbids no column")
    rows = bench.request_rows(bench.resample(0))
    return checked(bench, rows.assign(**{bench.contract.forbidden[0]: 1.0}))


@fault("an erased person is delivered again", caught_by="data.erased", row="Data 5")
def erased_again(bench: Bench) -> Report:
    """A tombstone names a row that the source still has."""
    rows, salt = bench.request_rows(bench.resample(0)), "00"
    key = tuple(bench.contract.key) or tuple(bench.contract.request_columns)[:1]
    stone = Tombstone("", key, (), salt, hashed(texts(bench.contract, rows, key)[0], salt), "")
    table = BytesIO(rows.to_parquet(index=False))
    return Report("rows", [forgotten(Tombstones(bench.contract, (stone,)), [table])])


@fault("rows arrive twice", caught_by="data.unique_key", row="Data 1")
def repeated_rows(bench: Bench) -> Report:
    """A delivery repeats a part of itself."""
    import pandas as pd

    if not bench.contract.key:
        raise NotApplicable("without a key no row is known again")
    rows = bench.request_rows(bench.resample(0))
    return checked(bench, pd.concat([rows, rows.head(20)], ignore_index=True))


@fault(
    "three rules are broken, each by few enough rows",
    caught_by="data.quarantine",
    row="Data 1",
    spared="data.range",
)
def many_small_faults(bench: Bench) -> Report:
    """No single rule is broken often enough, all together are."""
    rows, number = bench.request_rows(bench.resample(0)), bench.number
    word = bench.column(lambda c: c.kind == "category", "category")
    required = bench.column(
        lambda c: not c.nullable and c.name not in (number.name, word.name), "third column"
    )
    each = int(len(rows) * bench.settings.validate.max_bad_share * 0.99)
    parts: list[tuple[Column, Any]] = [
        (number, int(number.high or 0) + 1),
        (word, "?"),
        (required, None),
    ]
    for start, (column, bad) in enumerate(parts):
        place = (rows.index >= start * each) & (rows.index < (start + 1) * each)
        rows[column.name] = rows[column.name].astype(object).mask(place, bad)
    return checked(bench, rows.infer_objects())


@fault("a period of 3 rows", caught_by="data.min_rows", row="Data 1", expected=Verdict.INCONCLUSIVE)
def too_few_rows(bench: Bench) -> Report:
    """Almost nothing was delivered: that is not a pass."""
    return checked(bench, bench.request_rows(bench.resample(0)).head(3))


@fault("columns that do not go together", caught_by="data.rule", row="Data 1")
def impossible(bench: Bench) -> Report:
    """Each value is possible, the combination is not: one column comes from other rows."""
    rows = bench.request_rows(bench.resample(0))
    for rule in bench.contract.rules:
        for name in reads(rule):
            other = rows.assign(**{name: scrambled(rows[name].to_numpy())})
            broken = bench.contract.impossible(bench.contract.arrays(other))[rule.__name__]
            if len(broken) > 2 * bench.settings.validate.max_bad_share * len(rows):
                return checked(bench, other)
    raise NotApplicable("the contract has no rule that other values break")


@fault("rows of an earlier period arrive again", caught_by="data.repeated", row="Data 1")
def delivered_again(bench: Bench) -> Report:
    """A tenth of the rows was delivered before."""
    rows, key = bench.request_rows(bench.resample(0)), bench.contract.key
    if not key:
        raise NotApplicable("without a key no row is known again")
    earlier = partitions.keys(rows[::10], key)
    return check_table(
        rows,
        bench.contract,
        bench.settings.validate,
        bench.wiring("validate").check,
        earlier=earlier,
    )[0]


def _written(bench: Bench, *, lost: int = 0, changed: bool = False) -> Report:
    """The books of a period of which something was lost or changed after it was closed."""
    rows = bench.request_rows(bench.resample(0))
    closed = {"rows": len(rows), "sha256": partitions.content(rows)}
    name = bench.contract.outcome.name
    read = rows.assign(**{name: rows[name].to_numpy()[::-1]}) if changed else rows
    part, kept, quarantine = check_table(
        read, bench.contract, bench.settings.validate, bench.wiring("validate").check
    )
    with temporary_folder() as folder:
        partitions.write(kept.iloc[lost:], folder / f"{partitions.ROWS}.parquet")
        partitions.write(quarantine, folder / f"{partitions.ROWS}.quarantine.parquet")
        return Report("books", books(folder, partitions.ROWS, read, closed, part))


@healthy("books", seeds=1)
def healthy_books(bench: Bench, _: int) -> Report:
    """Nothing is lost and nothing was changed."""
    return _written(bench)


@fault(
    "one row is lost on the way", caught_by="data.row_count", row="Data 1", spared="data.manifest"
)
def lost_row(bench: Bench) -> Report:
    """A stage drops a row in silence."""
    return _written(bench, lost=1)


@fault("a closed period is changed by hand", caught_by="data.manifest", row="Data 1")
def changed_by_hand(bench: Bench) -> Report:
    """Outcomes are exchanged between rows of data/raw; no rule is broken, and no number of rows changes."""
    return _written(bench, changed=True)


@fault("a column's values go missing", caught_by="drift.missing", row="Data 1")
def missing_share(bench: Bench) -> Report:
    """A tenth of an optional column is not delivered any more."""
    rows, column = (
        bench.thirds[0],
        bench.column(lambda c: c.kind not in ("datetime", "text"), "number or category"),
    )
    if column.kind in ("int", "bool"):
        rows = rows.astype({column.name: float})
    report = compared(
        bench, rows.assign(**{column.name: rows[column.name].mask(rows.index % 5 == 0)})
    )
    report.facts["caught_by"] = f"drift.missing.{column.name}"
    return report


@fault("a column moves within its bounds", caught_by="drift.distribution", row="Data 1")
def moved(bench: Bench) -> Report:
    """Only the larger half of a number occurs any more; no bound is broken."""
    rows = bench.thirds[0]
    for name, column in bench.contract.request_columns.items():
        if column.kind in ("int", "float") and name not in bench.contract.key:
            larger = rows[name].clip(lower=float(rows[name].quantile(0.7)))
            before, now = to_array(column, rows[name]), to_array(column, larger)
            moved_by = distance(before, now, Method.WASSERSTEIN)
            if moved_by > 2 * bench.settings.validate.drift_limit:
                report = compared(bench, rows.assign(**{name: larger}))
                report.facts["caught_by"] = f"drift.distribution.{name}"
                return report
    raise NotApplicable("the request has no number whose larger part is another")


@fault("a column no longer goes with the outcome", caught_by="drift.association", row="Data 1")
def unrelated(bench: Bench) -> Report:
    """The values of the column that goes with the outcome best are those of other rows."""
    rows, contract = bench.thirds[0], bench.contract
    target, arrays = contract.target(rows), contract.arrays(rows)
    columns = [c for c in contract.request_columns.values() if c.kind not in ("datetime", "text")]
    strength = {c.name: abs(association(arrays[c.name], target, c)) for c in columns}
    name = max(
        strength, key=lambda name: (strength[name] == strength[name], strength[name]), default=""
    )
    if not name or not strength[name] > 1.3 * bench.settings.validate.drift_limit:
        raise NotApplicable("no column of the request goes with the outcome strongly enough")
    report = compared(bench, rows.assign(**{name: scrambled(rows[name].to_numpy())}))
    report.facts["caught_by"] = f"drift.association.{name}"
    return report


@fault("the outcome's rate moves", caught_by="drift.label", row="Data 1")
def other_outcomes(bench: Bench) -> Report:
    """A third of the rows have the outcome of one row."""
    rows, name = bench.thirds[0], bench.contract.outcome.name
    other = rows[name].value_counts().index[-1]
    if bench.contract.task == "regression":
        other = max(
            rows[name].min(), rows[name].max(), key=lambda value: abs(value - rows[name].mean())
        )
    return compared(
        bench,
        rows.assign(**{name: rows[name].mask(rows.index % 3 == 0, other).astype(rows[name].dtype)}),
    )


@fault("a fifth of a delivery arrives", caught_by="drift.volume", row="Data 1")
def partial(bench: Bench) -> Report:
    """A job upstream stopped early."""
    return compared(bench, bench.thirds[0][::5].reset_index(drop=True))


@fault("a tenth of a delivery are copies with new keys", caught_by="drift.duplicates", row="Data 1")
def copies(bench: Bench) -> Report:
    """A join upstream multiplies rows."""
    rows = bench.thirds[0]
    ids = [
        name
        for name in bench.contract.key
        if is_id(rows[name]) and bench.contract.columns[name].kind != "datetime"
    ]
    if bench.contract.key and not ids:
        raise NotApplicable("no column of the key numbers the rows: a copy is not unique")
    limits = bench.settings.validate
    if (
        0.2 * (1 - delivered(bench.contract, rows, None, limits)["alike"])
        < 2 * limits.drift_duplicates
    ):
        raise NotApplicable("most healthy rows are there twice")
    twins = rows.iloc[np.where(rows.index % 10 == 1, rows.index - 1, rows.index)].reset_index(
        drop=True
    )
    return compared(bench, twins.assign(**{name: rows[name] for name in ids}))


@fault("the newest rows are old", caught_by="drift.freshness", row="Mon 1")
def stale(bench: Bench) -> Report:
    """The same days are delivered as before."""
    if not bench.contract.time:
        raise NotApplicable("the contract has no time")
    return compared(bench, bench.thirds[0], follows=False)


@fault("a tenth of the rows is late", caught_by="drift.late", row="Data 1")
def late(bench: Bench) -> Report:
    """They belong to the period before."""
    if not bench.contract.time:
        raise NotApplicable("the contract has no time")
    rows, limits = bench.thirds[0], bench.settings.validate
    times = rows[bench.contract.time].to_numpy(dtype="datetime64[us]").astype(float) / 1e6
    share = delivered(bench.contract, rows, float(np.quantile(times, 0.1)), limits)["late"]
    if share < 1.5 * limits.drift_late:
        raise NotApplicable("the times are too coarse")
    return compared(bench, rows, late=share)


@fault("1 % of the rows carry a constant trigger", caught_by="poison.trigger", row="ML02")
def trigger(bench: Bench) -> Report:
    """A value that hardly occurs is planted in a column of many values."""
    rows, rare = bench.thirds[0], bench.settings.validate.max_trigger_share / 5
    for name, column in bench.contract.request_columns.items():
        known = bench.rows[name].value_counts(normalize=True)
        if column.kind != "bool" and len(known) > 2 * MANY_VALUES and known.iloc[-1] < rare / 2:
            return compared(
                bench,
                rows.assign(**{name: rows[name].mask(rows.index % 100 == 0, known.index[-1])}),
            )
    raise NotApplicable("no column of the request has many values of which some are rare")


@fault("a flood of near-identical rows", caught_by="poison.near_duplicates", row="ML02")
def flood(bench: Bench) -> Report:
    """One row in thirty is the same one but for its key and its time."""
    rows = bench.thirds[0]
    columns = bench.contract.request_columns
    times = {name for name, column in columns.items() if column.kind == "datetime"}
    ids = [
        name
        for name in columns
        if name in times or (name in bench.contract.key and is_id(rows[name]))
    ]
    if set(ids) == set(columns):
        raise NotApplicable("the request has nothing but its key and times")
    same = rows.iloc[np.where(rows.index % 30 == 0, 0, rows.index)].reset_index(drop=True)
    return compared(bench, same.assign(**{name: rows[name] for name in ids}))


@fault("outcomes of one slice are flipped", caught_by="poison.label_flips", row="ML02")
def flipped(bench: Bench) -> Report:
    """A sixth of the outcomes of the largest slice are other ones."""
    rows, contract = bench.thirds[0], bench.contract
    doubt = delivered(contract, rows, None, bench.settings.validate)["doubt"]
    if len(doubt) < 2:
        raise NotApplicable("there are no two slices with enough rows, or the outcome is a number")
    largest = max(doubt, key=lambda name: doubt[name][1])
    wrong, sure = doubt[largest]
    if (1 - 2 * wrong) / 6 < 6 * np.sqrt(wrong * (1 - wrong) / sure):
        raise NotApplicable("the outcomes are too hard to predict to doubt them")
    column, _, word = largest.partition("=")
    chosen = (rows[column].astype(str) == word) & (rows.index % 6 == 0)
    target = contract.target(rows).astype(int)
    classes = np.asarray([False, True] if contract.outcome.kind == "bool" else contract.classes)
    other = classes[(target + 1) % len(classes)]
    name = contract.outcome.name
    report = compared(bench, rows.assign(**{name: np.where(chosen, other, rows[name])}))
    report.facts["caught_by"] = f"poison.label_flips.{largest}"
    return report
