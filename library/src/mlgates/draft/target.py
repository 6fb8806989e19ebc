"""The target: which task its values make, and how they are read and written in the contract."""

from mlgates.draft.columns import Column
from mlgates.draft.decision import Decision, Field
from mlgates.draft.fields import out_of_range, room
from mlgates.errors import ProjectError

MAX_CLASSES = 100
MIN_ROWS_PER_CLASS = 10  # on average
MAX_WHOLE_CLASSES = 5  # whole numbers of more different values are a quantity, not classes
NEGATIVE = {"no", "n", "false", "f", "0", "absent", "negative", "none", "never", "dead"}

# A class with fewer rows, or a smaller share of them, is rare: users are warned of it.
MIN_ROWS_TO_LEARN = 50
MIN_SHARE_TO_LEARN = 0.01


def decide_target(field: Field, n_rows: int, wished_task: str) -> str:
    """The task; the field becomes the outcome.

    Raises: ProjectError if the values cannot be predicted, or not by the wished task.
    """
    column = field.column
    # A target is read in another way than a column of a request, so what field_of decided goes.
    field.role = "outcome"
    field.nullable = False  # rows without it are left out
    field.why = list(column.notes)
    field.allow_any_value()
    _check_values(column)

    task = wished_task or _task_of(column)
    if task == "regression":
        _make_quantity(field)
    else:
        _check_classes(column, n_rows, task)
        field.why.append(f"{len(column.words)} values: {task}")
        _make_classes(field, task)
    return task


def _check_values(column: Column) -> None:
    """Raises: ProjectError if the values cannot be predicted by any task."""
    target = f"The target {column.label!r}"
    if column.known and column.low == column.high:
        raise ProjectError(
            f"{target} has one value only: {column.low!s:.40}.", "There is nothing to learn."
        )
    if column.kind == "datetime":
        raise ProjectError(f"{target} holds times.")
    if column.kind == "other":
        raise ProjectError(f"{target} cannot be predicted: {column.notes[-1]}.")
    unreadable = out_of_range(column)
    if unreadable:
        raise ProjectError(f"{target} holds {unreadable}.", "Give it in another unit.")
    # Few values are classes, whatever they look like.
    if column.mixture and column.distinct > MAX_WHOLE_CLASSES:
        raise ProjectError(f"{target} is {column.mixture}.", "Make it numbers, or words.")


def _task_of(column: Column) -> str:
    """The task that fits the values."""
    n_values = len(column.words)
    if n_values == 2:
        return "binary"
    has_classes = 0 < n_values <= MAX_WHOLE_CLASSES and _are_whole(column)
    if has_classes or not column.is_number:
        return "multiclass"
    return "regression"


def _are_whole(column: Column) -> bool:
    """Whether the values, which must be few enough to be listed, are whole numbers."""
    if not column.is_number:
        return False
    return all(float(word).is_integer() for word in column.words)


def _make_quantity(field: Field) -> None:
    """Read the target as a number."""
    column = field.column
    if not column.is_number:
        raise ProjectError(
            f"The target {column.label!r} does not hold numbers.", "Leave --task away."
        )
    field.kind = "float"
    field.set_bounds(*room(column.low, column.high))
    field.why.append(f"numbers from {column.low:g} to {column.high:g}: regression")
    column.sql = f"CAST({column.sql} AS DOUBLE)"


def _check_classes(column: Column, n_rows: int, task: str) -> None:
    """Raises: ProjectError if the values are too many for classes, or not those of the task."""
    target = f"The target {column.label!r}"
    n_values = len(column.words)  # 0 if there were too many to list them
    if not 0 < n_values <= min(MAX_CLASSES, n_rows / MIN_ROWS_PER_CLASS):
        raise ProjectError(
            f"{target} has {column.distinct:,} different values in {n_rows:,} rows: "
            "too many for classes.",
            "Name a column with fewer words, or one with numbers.",
        )
    if (n_values == 2) != (task == "binary"):
        raise ProjectError(
            f"{target} has {n_values} values; that is not {task}.", "Leave --task away."
        )


def _make_classes(field: Field, task: str) -> None:
    """Read the target as true and false, or else as the words of a Literal."""
    column = field.column
    if _are_truth_values(column):
        field.kind = "bool"
        column.sql = f"CAST({column.sql} AS BOOLEAN)"
        return
    field.kind = "category"
    field.words = _ordered_classes(column, task)
    if column.is_number:
        column.sql = f"CAST({column.sql} AS VARCHAR)"


def _are_truth_values(column: Column) -> bool:
    """Whether the values are true and false, or 1 and 0."""
    if column.kind == "bool":
        return True
    return _are_whole(column) and set(map(float, column.words)) == {0.0, 1.0}


def _ordered_classes(column: Column, task: str) -> list[str]:
    """The classes in the order of the contract: of two, the second one is the positive class."""
    if task == "binary":
        return sorted(column.words, key=lambda word: _negative_first(word, column.words[word]))
    if _are_whole(column):
        return sorted(column.words, key=float)
    return sorted(column.words)


def _negative_first(word: str, n_rows: int) -> tuple[bool, int, str]:
    """What sorts a negative word before others, and else the more frequent one."""
    return word.lower() not in NEGATIVE, -n_rows, word


def warn_of_rare_classes(decision: Decision) -> None:
    """Note how rare the rarest class is, and warn of classes that can hardly be learned."""
    if decision.task == "regression":
        return
    column = decision.target.column
    decision.rarest = min(column.words.values())
    min_rows = max(MIN_ROWS_TO_LEARN, MIN_SHARE_TO_LEARN * decision.rows)
    rare = [f"{word} ({times:,})" for word, times in column.words.items() if times < min_rows]
    if rare:
        classes = f"rare classes of {column.label!r}: {', '.join(rare[:5])}"
        decision.warnings.append(f"{classes}. They can hardly be learned or judged.")
