"""The target: which task its values make, and how they are read and written in the contract."""

from mlgates.draft.decision import Decision, Field
from mlgates.draft.fields import out_of_range, room
from mlgates.draft.profile import Column
from mlgates.errors import ProjectError

MAX_CLASSES = 100
MAX_WHOLE_CLASSES = 5  # whole numbers of more different values are a quantity, not classes
NEGATIVE = {"no", "n", "false", "f", "0", "absent", "negative", "none", "never", "dead"}


def decide_target(field: Field, n_rows: int, wished_task: str) -> str:
    """The task; the field becomes the outcome.

    Raises: ProjectError if the values cannot be predicted, or not by the wished task.
    """
    column = field.column
    # A target is read in another way than a column of a request, so what field_of decided goes.
    field.role = "outcome"
    field.nullable = False  # rows without it are left out
    field.why = list(column.notes)
    field.max_length = None
    field.set_bounds(None, None)
    _check_values(column)

    words = [word for word, times in column.words.items() if times]
    task = wished_task or _task_of(column, words)
    if task == "regression":
        _decide_quantity(field)
        return task

    _check_classes(column, words, n_rows, task)
    field.why.append(f"{len(words)} values: {task}")
    if _are_truth_values(column, words):
        field.kind = "bool"
        field.words = []
        column.sql = f"CAST({column.sql} AS BOOLEAN)"
        return task
    field.kind = "category"
    field.words = _ordered_classes(column, words, task)
    if column.is_number:
        column.sql = f"CAST({column.sql} AS VARCHAR)"
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
    for note in column.notes:
        # Few values are classes, whatever they look like.
        if note.startswith("mixed") and column.distinct > MAX_WHOLE_CLASSES:
            raise ProjectError(f"{target} is {note}.", "Make it numbers, or words.")


def _task_of(column: Column, words: list[str]) -> str:
    """The task that fits the values."""
    if len(words) == 2:
        return "binary"
    if not column.is_number:
        return "multiclass"
    are_few = 2 < len(words) <= MAX_WHOLE_CLASSES
    return "multiclass" if are_few and _are_whole(column, words) else "regression"


def _are_whole(column: Column, words: list[str]) -> bool:
    """Whether the values are whole numbers, of which there are few enough to be listed."""
    if not words or not column.is_number:
        return False
    return all(float(word).is_integer() for word in words)


def _are_truth_values(column: Column, words: list[str]) -> bool:
    """Whether the values are true and false, or 1 and 0."""
    if column.kind == "bool":
        return True
    return _are_whole(column, words) and {float(word) for word in words} == {0.0, 1.0}


def _decide_quantity(field: Field) -> None:
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


def _check_classes(column: Column, words: list[str], n_rows: int, task: str) -> None:
    """Raises: ProjectError if the values are too many for classes, or not those of the task."""
    target = f"The target {column.label!r}"
    # A class needs ten rows on average.
    if not words or len(words) > MAX_CLASSES or len(words) > n_rows / 10:
        raise ProjectError(
            f"{target} has {column.distinct:,} different values in {n_rows:,} rows: "
            "too many for classes.",
            "Name a column with fewer words, or one with numbers.",
        )
    if (len(words) == 2) != (task == "binary"):
        raise ProjectError(
            f"{target} has {len(words)} values; that is not {task}.", "Leave --task away."
        )


def _ordered_classes(column: Column, words: list[str], task: str) -> list[str]:
    """The classes in the order of the contract: of two, the second one is the positive class."""
    if task == "multiclass":
        return sorted(words, key=float) if _are_whole(column, words) else sorted(words)

    def negative_first(word: str) -> tuple[bool, int, str]:
        is_negative = word.lower() in NEGATIVE
        return not is_negative, -column.words[word], word  # else the frequent one is negative

    return sorted(words, key=negative_first)


def warn_of_rare_classes(decision: Decision) -> None:
    """Note how rare the rarest class is, and warn of classes that can hardly be learned."""
    if decision.task == "regression":
        return
    column = decision.target.column
    counts = {word: times for word, times in column.words.items() if times}
    decision.rarest = min(counts.values())
    min_rows = max(50, 0.01 * decision.rows)
    rare = [f"{word} ({times:,})" for word, times in counts.items() if times < min_rows]
    if rare:
        classes = f"rare classes of {column.label!r}: {', '.join(rare[:5])}"
        decision.warnings.append(f"{classes}. They can hardly be learned or judged.")
