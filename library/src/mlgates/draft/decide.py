"""From what was counted to a contract: every decision, each with its reason."""

from mlgates.draft.decision import LEFT_OUT, Decision, Wishes
from mlgates.draft.fields import field_of
from mlgates.draft.keys import decide_key
from mlgates.draft.leaks import forbid_leaks
from mlgates.draft.names import python_names
from mlgates.draft.periods import decide_periods
from mlgates.draft.profile import Table
from mlgates.draft.target import decide_target, warn_of_rare_classes
from mlgates.errors import ProjectError
from mlgates.settings import Settings

MAX_SLICES = 2
MAX_WORDS_OF_A_SLICE = 10


def decide(table: Table, wishes: Wishes, settings: Settings, *, is_database: bool) -> Decision:
    """Every decision.

    Raises: ProjectError with one sentence about the first thing that cannot be.
    """
    names = python_names(table.columns)
    fields = {}
    for label, column in table.columns.items():
        fields[label] = field_of(names[label], column, table.rows)
    target = fields[wishes.target]
    task = decide_target(target, table.rows, wishes.task)

    decision = Decision(fields, target, task, table.rows)
    if table.left_out:
        decision.warnings.append(
            f"{table.left_out:,} rows have no value of the target or the time and are left out"
        )
    _mark_groups(decision, wishes)
    # The order matters: a key, a time or a leak is not a feature any more.
    decide_key(decision, table.count, wishes.id, wishes.time)
    decide_periods(decision, table.count, wishes.time, settings, is_database=is_database)
    forbid_leaks(decision, table.sample)
    decision.slices = _slices(decision)
    _check_features(decision)
    warn_of_rare_classes(decision)
    return decision


def _mark_groups(decision: Decision, wishes: Wishes) -> None:
    """Take the columns that --group names out of the features."""
    for label in wishes.groups:
        field = decision.fields[label]
        if field.role == LEFT_OUT:
            raise ProjectError(f"--group {label}: {field.why[-1]}.")
        field.set_role("group", "named by --group: looked at apart, protected from the features")


def _slices(decision: Decision) -> list[str]:
    """The first columns with few words: the gate looks at each of their values apart."""
    names = []
    for field in decision.having("feature", "group"):
        if 2 <= len(field.words) <= MAX_WORDS_OF_A_SLICE:
            names.append(field.name)
    return names[:MAX_SLICES]


def _check_features(decision: Decision) -> None:
    """Raises: ProjectError if there is no feature, with the reasons of the first columns."""
    if decision.having("feature"):
        return
    reasons = []
    for field in decision.fields.values():
        if field is not decision.target and field.why:
            reasons.append(f"{field.column.label}: {field.why[-1]}")
    raise ProjectError("No column is left that could be a feature.", "; ".join(reasons[:5]))
