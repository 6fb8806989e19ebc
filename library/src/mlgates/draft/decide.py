"""From what was counted to a contract: kinds, bounds with head-room, roles, leaks, periods; each with its reason."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.draft.names import python_names
from mlgates.draft.profile import Column, Counting, Table
from mlgates.errors import ProjectError, nearest
from mlgates.settings import Settings

if TYPE_CHECKING:
    import pandas as pd

MOST_CLASSES, CODES = 100, 5  # whole numbers of at most so many different values are classes
MOST_LISTED, LEAST_SEEN, LONGEST = 20, 5, 60  # of a Literal: words, rows of each, letters
LEAK, SUSPECT = 0.995, 0.98
SMALLEST, LARGEST = 1e-38, 1e38  # trees read single precision
TRIED, MOST_CODES = (
    5_000,
    200,
)  # rows on which models are tried, and words of a column that these know
PARTS = 4
NEGATIVE = {"no", "n", "false", "f", "0", "absent", "negative", "none", "never", "dead"}
ID_NAME = re.compile(
    r"(^|[\W_])(id|key|uuid|guid|nr|no|number|code|index|name)s?([\W_]|$)|I[dD]$|rownames", re.I
)
ROW_NUMBER = re.compile(r"rownames|unnamed.*|index|row|x|column0*|\s*", re.I)
UNIT = re.compile(r"[(\[]([^()\[\]]+)[)\]]\s*$")

UNITS = {
    "year": "strftime(s, '%Y')",
    "quarter": "strftime(s, '%Y') || '-Q' || quarter(s)",
    "month": "strftime(s, '%Y-%m')",
    "week": "strftime(s, '%G-W%V')",
    "day": "strftime(s, '%Y-%m-%d')",
}

IDEAL = 12  # periods


@dataclass
class Field:
    """One column of the contract, or one that is left out of it; `role` says which, `why` says the reason."""

    name: str
    column: Column
    kind: str
    role: str = "feature"  # feature, kept, key, time, group, outcome, forbidden, left out
    nullable: bool = False
    low: float | None = None
    high: float | None = None
    words: list[str] = field(default_factory=list)
    max_length: int | None = None
    unit: str = ""
    why: list[str] = field(default_factory=list)

    @property
    def delivered(self) -> bool:
        """Whether data.py reads it."""
        return self.role not in ("forbidden", "left out")


@dataclass
class Decision:
    """All that is written."""

    fields: dict[str, Field]
    target: Field
    task: str
    rows: int
    key: list[str] = field(default_factory=list)
    time: str = ""
    unit: str = ""
    periods: dict[str, tuple[Any, Any]] = field(default_factory=dict)
    until: str = ""
    slices: list[str] = field(default_factory=list)
    rarest: int = 0
    warnings: list[str] = field(default_factory=list)

    def having(self, *roles: str) -> list[Field]:
        """The fields with one of these roles, in their order."""
        return [one for one in self.fields.values() if one.role in roles]


@dataclass(frozen=True)
class Wishes:
    """What the command line names, under the world's names."""

    target: str
    id: str = ""
    time: str = ""
    groups: tuple[str, ...] = ()
    task: str = ""

    def found(self, known: Mapping[str, Any]) -> None:
        """Raises: ProjectError for a column that does not exist, naming the nearest one, or for one named twice."""
        named = [name for name in (self.target, self.id, self.time, *self.groups) if name]
        for name in named:
            if name not in known:
                raise ProjectError(f"There is no column {name!r}.", nearest(name, known))
        if self.target in (self.id, self.time, *self.groups):
            raise ProjectError(f"{self.target!r} cannot be the target and something else.")


def decide(table: Table, wishes: Wishes, settings: Settings, *, database: bool) -> Decision:
    """Every decision, or a ProjectError with one sentence about the first thing that cannot be."""
    names = python_names(table.columns)
    fields = {
        label: _field(names[label], column, table.rows) for label, column in table.columns.items()
    }
    target = fields[wishes.target]
    task = _outcome(target, table.rows, wishes.task)
    made = Decision(fields, target, task, table.rows)
    if table.left_out:
        made.warnings.append(
            f"{table.left_out:,} rows have no value of the target or the time and are left out"
        )
    for label in wishes.groups:
        if fields[label].role == "left out":
            raise ProjectError(f"--group {label}: {fields[label].why[-1]}.")
        fields[label].role = "group"
        fields[label].why.append("named by --group: looked at apart, protected from the features")
    _key(made, table.count, wishes)
    _periods(made, table.count, wishes, settings, database)
    _leaks(made, table.sample)
    made.slices = [
        one.name for one in made.having("feature", "group") if 2 <= len(one.words) <= 10
    ][:2]
    if not made.having("feature"):
        reasons = [
            f"{one.column.label}: {one.why[-1]}"
            for one in fields.values()
            if one is not target and one.why
        ]
        raise ProjectError("No column is left that could be a feature.", "; ".join(reasons[:5]))
    _classes(made, wishes)
    return made


def _field(name: str, column: Column, rows: int) -> Field:
    """The column as part of a request, before the whole table is looked at."""
    one = Field(name, column, column.kind, nullable=column.known < rows, why=list(column.notes))
    if unit := UNIT.search(column.label):
        one.unit = unit[1]
    if column.kind == "other" or not column.known:
        one.role = "left out"
        one.why += [] if column.kind == "other" else ["no value in any row"]
    elif column.low == column.high:
        one.role = "left out"
        one.why.append(f"constant: always {column.low!s:.30}")
    elif unheld := _unheld(column):
        one.role = "left out"
        one.why.append(unheld)
    elif column.kind == "datetime":
        one.role = "kept"
        one.why.append("a time is no feature as it is")
    elif column.kind == "text":
        _text(one, rows)
    elif column.is_number:
        one.low, one.high = room(column.low, column.high)
        if column.kind == "int":
            one.low, one.high = float(math.floor(one.low)), float(math.ceil(one.high))
        if column.kind == "int" and (column.low, column.high) == (0, 1):
            one.why.append("a truth value in disguise: 0 and 1")
        many = column.distinct > (0.3 if ID_NAME.search(column.label) else 0.95) * rows
        if column.kind == "int" and many and _like_id(column):
            one.role, one.low, one.high = "kept", None, None
            one.why.append(f"near-unique ({column.distinct:,} values): an id, no feature")
    if one.nullable and one.role != "left out":
        one.why.append(f"missing in {1 - column.known / rows:.1%}")
    return one


def _unheld(column: Column) -> str:
    """What a model cannot read of a column of numbers, if anything."""
    largest = max(abs(float(column.low)), abs(float(column.high))) if column.is_number else 1.0
    return (
        ""
        if SMALLEST < largest < LARGEST
        else f"numbers up to {largest:g}: more than a model can tell apart"
    )


def _text(one: Field, rows: int) -> None:
    column, words = one.column, sorted(one.column.words)
    if {word.lower() for word in words} in ({"yes", "no"}, {"y", "n"}, {"t", "f"}):
        one.why.append("a truth value in disguise")
    listed = words and len(words) <= MOST_LISTED and column.length <= LONGEST
    if listed and min(column.words.values()) >= LEAST_SEEN:
        one.kind, one.words = "category", words
        one.why.append(f"{len(words)} words, each in at least {min(column.words.values()):,} rows")
        return
    one.max_length = 2 * max(column.length, 5)
    if column.distinct > max(0.5 * column.known, 50) or (
        _like_id(column) and column.distinct > 0.95 * column.known
    ):
        one.role = "kept"
        one.why.append(f"{column.distinct:,} different texts: a name or free text, no feature")
    else:
        one.why.append(
            f"about {column.distinct:,} words, some rare: others may come, and count as unknown"
        )


def _like_id(column: Column) -> bool:
    sequence = column.kind == "int" and column.high - column.low + 1 == column.known
    return (
        bool(ID_NAME.search(column.label))
        or sequence
        or (column.kind == "text" and 0 < column.length <= 40)
    )


def room(low: float, high: float) -> tuple[float, float]:
    """Bounds with half of the range more on each side, rounded outward; a sign, 0 to 1 and 0 to 100 stay."""
    span = float(high - low) or abs(float(high)) or 1.0
    step = 10.0 ** (math.floor(math.log10(span)) - 1)
    first, last = (
        math.floor((low - span / 2) / step) * step,
        math.ceil((high + span / 2) / step) * step,
    )
    first = max(first, 0.0) if low >= 0 else first
    last = min(last, 0.0) if high <= 0 else last
    last = float(high) if first == 0 and high in (1, 100) else last
    return float(f"{first:.12g}"), float(f"{last:.12g}")


def _outcome(one: Field, rows: int, wanted: str) -> str:
    """The task; the field becomes the outcome."""
    column, label = one.column, one.column.label
    words = [word for word, times in column.words.items() if times]
    one.role, one.nullable, one.why, one.low, one.high = (
        "outcome",
        False,
        list(column.notes),
        None,
        None,
    )
    if column.known and column.low == column.high:
        raise ProjectError(
            f"The target {label!r} has one value only: {column.low!s:.40}.",
            "Nothing is to be learned.",
        )
    if column.kind in ("datetime", "other"):
        raise ProjectError(
            f"The target {label!r} holds {'times' if column.kind == 'datetime' else 'no values'}."
        )
    if unheld := _unheld(column):
        raise ProjectError(f"The target {label!r} holds {unheld}.", "Give it in another unit.")
    if mixed := [
        note for note in column.notes if note.startswith("mixed") and column.distinct > CODES
    ]:
        raise ProjectError(f"The target {label!r} is {mixed[0]}.", "Make it numbers, or words.")
    whole = column.is_number and words and all(float(word).is_integer() for word in words)
    classes = not column.is_number or len(words) == 2 or (whole and 2 < len(words) <= CODES)
    task = wanted or (
        "regression" if not classes else "binary" if len(words) == 2 else "multiclass"
    )
    if task == "regression":
        if not column.is_number:
            raise ProjectError(f"The target {label!r} holds no numbers.", "Leave --task away.")
        one.kind, (one.low, one.high) = "float", room(column.low, column.high)
        one.column.sql = f"CAST({column.sql} AS DOUBLE)"
        one.why.append(f"numbers from {column.low:g} to {column.high:g}: regression")
        return task
    if not words or len(words) > MOST_CLASSES or len(words) > rows / 10:
        told = f"The target {label!r} has {column.distinct:,} different values in {rows:,} rows"
        raise ProjectError(
            f"{told}: too many for classes.", "Name a column with fewer words, or one with numbers."
        )
    if (len(words) == 2) != (task == "binary"):
        raise ProjectError(
            f"The target {label!r} has {len(words)} values; that is not {task}.",
            "Leave --task away.",
        )
    if column.kind == "bool" or (whole and {float(word) for word in words} == {0.0, 1.0}):
        one.kind, one.words, one.column.sql = "bool", [], f"CAST({column.sql} AS BOOLEAN)"
    else:
        one.kind = "category"
        one.words = sorted(
            words, key=lambda word: (word.lower() not in NEGATIVE, -column.words[word], word)
        )
        if task == "multiclass":
            one.words = sorted(words, key=float) if whole else sorted(words)
        one.column.sql = f"CAST({column.sql} AS VARCHAR)" if column.is_number else column.sql
    one.why.append(f"{len(words)} values: {task}")
    return task


def _key(made: Decision, count: Counting, wishes: Wishes) -> None:
    """What tells rows apart: what was named, or the first column that is unique and looks like an id."""
    fields = made.fields
    if wishes.id:
        one = fields[wishes.id]
        both = (
            f"{one.column.sql}, {fields[wishes.time].column.sql}" if wishes.time else one.column.sql
        )
        found = count(
            {
                "known": f"count({one.column.sql})",
                "one": f"count(DISTINCT {one.column.sql})",
                "both": f"count(DISTINCT ({both}))",
            }
        )
        if found["known"] < made.rows:
            raise ProjectError(
                f"--id {wishes.id}: {made.rows - found['known']:,} rows have no value."
            )
        if max(found["one"], found["both"]) < made.rows:
            told = f"--id {wishes.id} does not tell rows apart: {found['one']:,} values in {made.rows:,} rows"
            raise ProjectError(
                f"{told}{', also not with the time' if wishes.time else ''}.", "Leave --id away."
            )
        made.key = [one.name] if found["one"] == made.rows else [one.name, fields[wishes.time].name]
        one.why = ["named by --id"]
    else:
        for one in made.having("feature", "kept"):
            column = one.column
            unique = column.distinct == column.known == made.rows and column.kind in ("int", "text")
            if not unique or not _like_id(column):
                continue
            if (
                column.kind == "int"
                and column.high <= 3 * made.rows
                and ROW_NUMBER.fullmatch(column.label)
            ):
                one.role, one.why = "left out", ["a row number of the file, unknown to a caller"]
                continue
            one.why = ["unique, and looks like an id"]
            break
        else:
            made.warnings.append(
                "no key: outcomes find their predictions by the id that each answer carries"
            )
            return
        made.key = [one.name]
    one.role, one.words, one.max_length, one.low, one.high = "key", [], None, None, None
    one.kind = "text" if one.column.kind == "float" else one.column.kind
    if one.column.kind == "float":
        one.column.sql = f"CAST({one.column.sql} AS VARCHAR)"


def _periods(
    made: Decision, count: Counting, wishes: Wishes, settings: Settings, database: bool
) -> None:
    least, used = int(settings.validate.min_rows), int(settings.train.periods) + 1
    if wishes.time:
        one = made.fields[wishes.time]
        if one.kind != "datetime" and not one.column.is_number:
            raise ProjectError(
                f"--time {wishes.time} holds no times.", "Name a column with dates, times or years."
            )
        if _by_time(made, count, one, least, used):
            one.role = "time" if one.role != "key" else "key"
            one.nullable, made.time = False, one.name
            one.why.append(f"named by --time: {len(made.periods)} periods, {made.unit}")
            if one.column.is_number:
                one.low, one.high = None, None
            return
        made.warnings.append(
            f"{made.rows:,} rows are too few to split by time: they are split by chance"
        )
    elif times := [one.column.label for one in made.fields.values() if one.kind == "datetime"]:
        made.warnings.append(
            f"{times[0]!r} holds times: with --time {times[0]} the test rows follow the training rows"
        )
    parts = (
        1
        if database
        else max(1, min(PARTS, int(made.rows / least)), math.ceil(made.rows / 250_000))
    )
    made.unit = "an equal part"
    made.periods = {f"part-{n + 1:0{len(str(parts))}d}": (n, parts) for n in range(parts)}
    made.until = list(made.periods)[min(parts, used) - 1]


def _by_time(made: Decision, count: Counting, one: Field, least: int, used: int) -> bool:
    """Whether at least two periods of time have enough rows: the calendar's, else as many rows in each."""
    sql, options = one.column.sql, []
    units = {
        f"a {unit}": (f"date_trunc('{unit}', {sql})", name, f"INTERVAL 1 {unit}")
        for unit, name in UNITS.items()
    }
    if one.column.is_number:
        units = {f"a value of {one.name}": (sql, "CAST(s AS VARCHAR)", "1")}
    for unit, (start, name, step) in units.items():
        grouped = (
            f"SELECT {start} AS s, count(*) AS rows FROM source WHERE {count.where} GROUP BY s"
        )
        found = count.database.execute(
            f"SELECT {name}, s, s + {step}, rows FROM ({grouped}) ORDER BY s"
        ).fetchall()
        full = [place for place, row in enumerate(found) if row[3] >= least]
        if len(full) >= used and full[-used:] == list(range(full[-1] - used + 1, full[-1] + 1)):
            periods = {row[0]: (row[1], row[2]) for row in found}
            options.append((abs(math.log(len(found) / IDEAL)), unit, periods, found[full[-1]][0]))
    if options:
        _, made.unit, made.periods, made.until = min(options, key=lambda option: option[0])
        return True
    for parts in range(min(PARTS, made.rows // least), 1, -1):
        shares = ", ".join(str(place / parts) for place in range(1, parts))
        cuts = sorted(set(count({"": f"quantile_disc({sql}, [{shares}])"})[""]))
        last = one.column.high + 1 if one.column.is_number else "9999-12-31"
        edges = [one.column.low, *(cut for cut in cuts if cut > one.column.low), last]
        periods = {f"part-{n + 1}": pair for n, pair in enumerate(pairwise(edges))}
        ranges = {
            name: f"{sql} >= {_sql(start)} AND {sql} < {_sql(end)}"
            for name, (start, end) in periods.items()
        }
        sizes = count({name: f"count(*) FILTER ({where})" for name, where in ranges.items()})
        if len(sizes) > 1 and min(sizes.values()) >= least:
            made.unit, made.periods, made.until = (
                "an equal part, in time",
                periods,
                list(periods)[-1],
            )
            return True
    return False


def _sql(value: Any) -> str:
    return str(value) if isinstance(value, int | float) else f"TIMESTAMP '{value}'"


def _leaks(made: Decision, sample: "pd.DataFrame") -> None:
    """Columns that alone tell the outcome: forbidden, or, where it is less sure, named in a warning."""
    others = made.having("feature")
    rows, target = judged(made, sample)
    found = {
        one.name: tells(numbers(rows[one.column.label], one), target, one, made.task)
        for one in others
    }
    leaks = [one for one in others if found[one.name] >= LEAK]
    for one in others:
        label, score = one.column.label, found[one.name]
        if score < SUSPECT:
            continue
        if one in leaks and len(leaks) < len(others):
            one.role = "forbidden"
            one.why.append("suspected leak: it alone tells the outcome")
            made.warnings.append(
                f"{label!r} alone tells the outcome ({score:.3f} of 1): a leak? It is forbidden now"
            )
        else:
            made.warnings.append(
                f"{label!r} alone nearly tells the outcome ({score:.3f} of 1): is it known in time?"
            )


def judged(made: Decision, sample: "pd.DataFrame") -> tuple["pd.DataFrame", np.ndarray]:
    """Some rows to try a model on, and their outcome: numbers, 0 and 1, or words, none of them too rare for a fold."""
    rows = sample.head(TRIED)
    target = rows[made.target.column.label]
    if made.task == "regression":
        return rows, target.to_numpy(dtype=float)
    told = target.astype(str)
    often = told.map(told.value_counts()) >= LEAST_SEEN
    rows, told = rows[often], told[often]
    if made.task == "multiclass":
        return rows, told.to_numpy()
    positive = made.target.words[-1] if made.target.words else str(target.max())
    return rows, (told == positive).to_numpy(dtype=int)


def numbers(values: "pd.Series", one: Field) -> np.ndarray:
    """(n,) a column as floats; of words, the frequent ones as codes."""
    import pandas as pd

    if one.kind not in ("text", "category"):
        return values.to_numpy(dtype=float, na_value=np.nan)
    codes = pd.factorize(
        values.where(values.isin(values.value_counts().index[:MOST_CODES])), sort=True
    )[0]
    return np.where(codes < 0, np.nan, codes)


def tells(values: np.ndarray, target: np.ndarray, one: Field, task: str) -> float:
    """How well a column alone predicts the outcome, 0 to 1: a tree on other rows, or the same order as a number."""
    from scipy.stats import spearmanr
    from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    if len(np.unique(target)) < 2:
        return 0.0
    tree, folds, scoring = (
        DecisionTreeClassifier(class_weight="balanced"),
        StratifiedKFold,
        "balanced_accuracy",
    )
    if task == "regression":
        tree, folds, scoring = DecisionTreeRegressor(), KFold, "r2"
    elif task == "binary":
        scoring = "roc_auc"
    tree.set_params(min_samples_leaf=2, random_state=0)
    cut = folds(2, shuffle=True, random_state=0)
    score = float(cross_val_score(tree, values[:, None], target, cv=cut, scoring=scoring).mean())
    known = ~np.isnan(values)
    if (
        task != "regression"
        or known.mean() < SUSPECT
        or one.kind not in ("int", "float", "datetime")
    ):
        return score
    return float(np.nanmax([score, abs(spearmanr(values[known], target[known]).statistic)]))


def _classes(made: Decision, wishes: Wishes) -> None:
    if made.task == "regression":
        return
    words = {word: times for word, times in made.target.column.words.items() if times}
    made.rarest = min(words.values())
    rare = [word for word, times in words.items() if times < max(50, 0.01 * made.rows)]
    if rare:
        told = ", ".join(f"{word} ({words[word]:,})" for word in rare[:5])
        made.warnings.append(
            f"rare classes of {wishes.target!r}: {told}: hardly to be learned or judged"
        )
