"""Resolve the team's `features.py`: each function is a feature, its arguments are columns or other features.

The convention is Apache Hamilton's; the resolver is small because it runs on every request.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import ModuleType

import numpy as np

from mlgates.contract import Arrays, Contract, reads
from mlgates.errors import ProjectError, nearest

MOST_CATEGORIES = 200


@dataclass(frozen=True)
class Plan:
    """The features of a module, checked against a contract and put in an order in which they can be computed."""

    names: tuple[str, ...]
    functions: Mapping[str, Callable[..., np.ndarray]]
    arguments: Mapping[str, tuple[str, ...]]
    categorical: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The contract's columns that any feature reads, each once."""
        return sorted({column for name in self.names for column in self.ancestors(name)})

    def ancestors(self, name: str) -> set[str]:
        """The columns that a feature reads, directly or through other features."""
        if name not in self.functions:
            return {name}
        return set().union(*(self.ancestors(argument) for argument in self.arguments[name]))

    def compute(self, arrays: Arrays) -> Arrays:
        """All features of n rows, each an array of length n; categories are still words.

        Raises: ProjectError if a feature gives another number of rows.
        """
        known = dict(arrays)
        for name, function in self.functions.items():
            try:
                known[name] = function(*(known[argument] for argument in self.arguments[name]))
            except Exception as error:
                raise ProjectError(
                    f"features.py: {name} failed: {type(error).__name__}: {error}"
                ) from error
        rows = len(next(iter(arrays.values())))
        for name in self.names:
            if np.shape(known[name]) != (rows,):
                raise ProjectError(
                    f"features.py: {name} gave {np.shape(known[name])} for {rows} rows."
                )
        return {name: known[name] for name in self.names}

    def matrix(self, arrays: Arrays, vocabulary: Mapping[str, Sequence[str]]) -> np.ndarray:
        """The (n, k) float64 matrix that the estimator sees; a category that training did not see is NaN."""
        return encode(self.compute(arrays), self.names, vocabulary)

    def vocabulary(self, arrays: Arrays) -> dict[str, list[str]]:
        """The words of each categorical feature in these (training) rows, the most frequent ones if there are many."""
        found = {}
        for name in self.categorical:
            words, counts = np.unique(
                [word for word in arrays[name] if word is not None], return_counts=True
            )
            found[name] = sorted(
                str(word) for word in words[np.argsort(-counts, kind="stable")][:MOST_CATEGORIES]
            )
        return found


def encode(
    features: Arrays, names: Sequence[str], vocabulary: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Features as one (n, k) float64 matrix, words replaced by their place in the vocabulary or NaN."""
    matrix = np.empty((len(features[names[0]]), len(names)))
    for place, name in enumerate(names):
        if name in vocabulary:
            places = {word: float(code) for code, word in enumerate(vocabulary[name])}
            matrix[:, place] = [places.get(word, np.nan) for word in features[name]]
        else:
            try:
                matrix[:, place] = features[name]
            except ValueError:
                raise ProjectError(
                    f"features.py: {name} gives words; only columns in AS_IS may."
                ) from None
    return matrix


def plan(module: ModuleType, contract: Contract) -> Plan:
    """Read a features module.

    Raises: ProjectError for an unknown column, a circle, no feature at all, or a forbidden or protected ancestor.
    """
    as_is = list(getattr(module, "AS_IS", []))
    functions = _functions(module)
    arguments = _arguments(functions)
    _check_names(as_is, arguments, contract)
    categorical = tuple(
        name for name in as_is if contract.columns[name].kind in ("category", "text")
    )
    ordered = _ordered(functions, arguments)
    names = (*as_is, *ordered)
    if not names:
        raise ProjectError(
            "features.py defines no feature.", "Write a function, or list columns in AS_IS."
        )
    return Plan(names, ordered, arguments, categorical)


def stored_plan(module: ModuleType, names: Sequence[str], categorical: Sequence[str]) -> Plan:
    """The plan of a stored model: its features by name, in its order, computed by the functions of `module`.

    Raises: ProjectError if the module does not define one of them.
    """
    functions = _functions(module)
    arguments = _arguments(functions)
    defined = {*functions, *getattr(module, "AS_IS", [])}
    for name in names:
        if name not in defined:
            raise ProjectError(f"features.py does not define {name!r}, which the model needs.")
    return Plan(tuple(names), _ordered(functions, arguments), arguments, tuple(categorical))


def _functions(module: ModuleType) -> dict[str, Callable[..., np.ndarray]]:
    """The features of a module: its own functions, but for those whose name begins with `_`."""
    return {
        name: function
        for name, function in inspect.getmembers(module, inspect.isfunction)
        if function.__module__ == module.__name__ and not name.startswith("_")
    }


def _arguments(functions: Mapping[str, Callable[..., np.ndarray]]) -> dict[str, tuple[str, ...]]:
    """What each feature reads: columns, or other features."""
    return {name: tuple(reads(function)) for name, function in functions.items()}


def _ordered(
    functions: Mapping[str, Callable[..., np.ndarray]], arguments: Mapping[str, Sequence[str]]
) -> dict[str, Callable[..., np.ndarray]]:
    """The features in an order in which they can be computed. Raises: ProjectError for a circle."""
    try:
        order = list(TopologicalSorter(arguments).static_order())
    except CycleError as error:
        raise ProjectError(
            f"features.py: features wait for each other: {' -> '.join(error.args[1])}."
        ) from None
    return {name: functions[name] for name in order if name in functions}


def refuse_barred(user: str, columns: Iterable[str], contract: Contract) -> None:
    """Raises: ProjectError `features.forbidden` if `user`, a feature or a stored model, reads what none may read."""
    for name in columns:
        if role := contract.barred(name):
            remedy = "Remove it from features.py; then: uv run dvc repro"
            raise ProjectError(
                f"features.forbidden: {user} reads {name!r}, which is {role}.", remedy
            )


def _check_names(
    as_is: Sequence[str], arguments: Mapping[str, Sequence[str]], contract: Contract
) -> None:
    wanted = [("AS_IS", name) for name in as_is] + [
        (f, name) for f, names in arguments.items() for name in names
    ]
    allowed = {*contract.feature_columns, *arguments}
    for user, name in wanted:
        refuse_barred(user, [name], contract)
        if name not in allowed:
            raise ProjectError(
                f"features.py: {user} reads {name!r}, which is no column.", nearest(name, allowed)
            )
    for name in as_is:
        if name not in contract.feature_columns or contract.columns[name].kind == "datetime":
            raise ProjectError(
                f"features.py: {name!r} in AS_IS must be a number or a category of the contract."
            )
    if both := set(arguments) & set(contract.columns):
        raise ProjectError(
            f"features.py: {sorted(both)[0]!r} is a feature and a column; name the feature otherwise."
        )
