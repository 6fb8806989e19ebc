"""Resolve the team's `features.py`: a function is a feature, its arguments are columns or features.

The convention is Apache Hamilton's. The resolver is small because it runs on every request.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from types import ModuleType

import numpy as np

from mlgates.contract import Arrays, Contract, reads
from mlgates.errors import ProjectError, nearest

FeatureFunction = Callable[..., np.ndarray]

# scikit-learn's histogram gradient boosting takes at most 255 categories for one feature.
MOST_CATEGORIES = 200


@dataclass(frozen=True)
class Plan:
    """The features of a module, checked against a contract and put in an order of computation.

    `names` are the features that the estimator sees, in the order of the matrix's columns.
    `functions` are all feature functions in an order in which they can be computed, `arguments`
    are what each of them reads, and `categorical` are the features that hold words.
    """

    names: tuple[str, ...]
    functions: Mapping[str, FeatureFunction]
    arguments: Mapping[str, tuple[str, ...]]
    categorical: tuple[str, ...]

    @property
    def columns(self) -> list[str]:
        """The contract's columns that any feature reads, sorted, each once."""
        columns: set[str] = set()
        for name in self.names:
            columns |= self.ancestors(name)
        return sorted(columns)

    def ancestors(self, name: str) -> set[str]:
        """The columns that a feature reads, directly or through other features."""
        if name not in self.functions:
            return {name}  # a column that is used as it is

        columns: set[str] = set()
        for argument in self.arguments[name]:
            columns |= self.ancestors(argument)
        return columns

    def compute(self, arrays: Arrays) -> Arrays:
        """All features of n rows, each an array of length n; categories are still words.

        Raises: ProjectError if a feature function fails or returns another number of rows.
        """
        values = dict(arrays)
        for name, function in self.functions.items():
            try:
                inputs = [values[argument] for argument in self.arguments[name]]
                values[name] = function(*inputs)
            except Exception as error:
                raise ProjectError(
                    f"features.py: {name} failed: {type(error).__name__}: {error}"
                ) from error

        rows = len(next(iter(arrays.values())))
        features: Arrays = {}
        for name in self.names:
            shape = np.shape(values[name])
            if shape != (rows,):
                raise ProjectError(
                    f"features.py: {name} returned an array of shape {shape} for {rows} rows.",
                    "A feature needs one value for each row.",
                )
            features[name] = values[name]
        return features

    def matrix(self, arrays: Arrays, vocabulary: Mapping[str, Sequence[str]]) -> np.ndarray:
        """The (n, k) float64 matrix that the estimator sees.

        A category that training did not see is NaN.
        """
        return encode(self.compute(arrays), self.names, vocabulary)

    def vocabulary(self, arrays: Arrays) -> dict[str, list[str]]:
        """The words of each categorical feature in these (training) rows, sorted.

        Of more than `MOST_CATEGORIES` words only the most frequent ones are kept.
        """
        vocabulary = {}
        for name in self.categorical:
            present = [word for word in arrays[name] if word is not None]
            words, counts = np.unique(present, return_counts=True)
            most_frequent_first = words[np.argsort(-counts, kind="stable")]
            vocabulary[name] = sorted(map(str, most_frequent_first[:MOST_CATEGORIES]))
        return vocabulary


def encode(
    features: Arrays, names: Sequence[str], vocabulary: Mapping[str, Sequence[str]]
) -> np.ndarray:
    """Features as one (n, k) float64 matrix; a word becomes its place in the vocabulary or NaN.

    Raises: ProjectError if a feature without a vocabulary holds words.
    """
    rows = len(features[names[0]])
    matrix = np.empty((rows, len(names)))
    for place, name in enumerate(names):
        if name in vocabulary:
            codes = {word: float(code) for code, word in enumerate(vocabulary[name])}
            matrix[:, place] = [codes.get(word, np.nan) for word in features[name]]
            continue
        try:
            matrix[:, place] = features[name]
        except ValueError:
            raise ProjectError(
                f"features.py: {name} returns words, but a feature function must return numbers.",
                "A column of words can be used as it is: list it in AS_IS.",
            ) from None
    return matrix


def plan(module: ModuleType, contract: Contract) -> Plan:
    """The plan of a features module: the columns in its `AS_IS`, then its functions.

    Raises: ProjectError for an unknown column, features that read each other in a circle, no
    feature at all, or a feature that reads a forbidden or protected column.
    """
    as_is = list(getattr(module, "AS_IS", []))
    functions = _functions(module)
    arguments = _arguments(functions)
    _check_reads(as_is, arguments, contract)
    _check_names(as_is, arguments, contract)

    categorical = []
    for name in as_is:
        if contract.columns[name].kind in ("category", "text"):
            categorical.append(name)
    ordered = _ordered(functions, arguments)
    names = (*as_is, *ordered)
    if not names:
        raise ProjectError(
            "features.py defines no feature.", "Write a function, or list columns in AS_IS."
        )
    return Plan(names, ordered, arguments, tuple(categorical))


def stored_plan(module: ModuleType, names: Sequence[str], categorical: Sequence[str]) -> Plan:
    """The plan of a stored model: its features in its order, computed by functions of `module`.

    Raises: ProjectError if the module does not define one of them.
    """
    functions = _functions(module)
    arguments = _arguments(functions)
    defined = {*functions, *getattr(module, "AS_IS", [])}
    for name in names:
        if name not in defined:
            raise ProjectError(f"features.py does not define {name!r}, which the model needs.")
    return Plan(tuple(names), _ordered(functions, arguments), arguments, tuple(categorical))


def _functions(module: ModuleType) -> dict[str, FeatureFunction]:
    """The features of a module, by name: its own functions whose names do not begin with `_`."""
    functions: dict[str, FeatureFunction] = {}
    for name, function in inspect.getmembers(module, inspect.isfunction):
        is_imported = function.__module__ != module.__name__
        if not is_imported and not name.startswith("_"):
            functions[name] = function
    return functions


def _arguments(functions: Mapping[str, FeatureFunction]) -> dict[str, tuple[str, ...]]:
    """What each feature reads: columns, or other features."""
    return {name: tuple(reads(function)) for name, function in functions.items()}


def _ordered(
    functions: Mapping[str, FeatureFunction], arguments: Mapping[str, Sequence[str]]
) -> dict[str, FeatureFunction]:
    """The features in an order in which they can be computed.

    Raises: ProjectError if features read each other in a circle.
    """
    try:
        order = list(TopologicalSorter(arguments).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ProjectError(
            f"features.py: features read each other in a circle: {circle}."
        ) from None
    # The order names columns too: they are what the first features read.
    return {name: functions[name] for name in order if name in functions}


def refuse_barred(user: str, columns: Iterable[str], contract: Contract) -> None:
    """Check that `user`, a feature or a stored model, reads no column that is closed to features.

    Raises: ProjectError `features.forbidden`.
    """
    for name in columns:
        role = contract.why_forbidden(name)
        if role:
            raise ProjectError(
                f"features.forbidden: {user} reads {name!r}, which is {role}.",
                "Remove it from features.py; then: uv run dvc repro",
            )


def _check_reads(
    as_is: Sequence[str], arguments: Mapping[str, Sequence[str]], contract: Contract
) -> None:
    """Raises: ProjectError if a feature reads a barred column, or a name that does not exist."""
    readers = [("AS_IS", as_is), *arguments.items()]
    allowed = {*contract.feature_columns, *arguments}
    for reader, names in readers:
        for name in names:
            refuse_barred(reader, [name], contract)
            if name not in allowed:
                raise ProjectError(
                    f"features.py: {reader} reads {name!r}, which is neither a column"
                    " of the contract nor a feature.",
                    nearest(name, allowed),
                )


def _check_names(
    as_is: Sequence[str], arguments: Mapping[str, Sequence[str]], contract: Contract
) -> None:
    """Raises: ProjectError for what AS_IS may not hold, or a feature that is named as a column."""
    for name in as_is:
        # A feature may stand among the allowed names, but AS_IS takes columns only. A time is no
        # number: a function has to make one of it.
        if name not in contract.feature_columns or contract.columns[name].kind == "datetime":
            raise ProjectError(
                f"features.py: {name!r} in AS_IS must be a number or a category of the contract."
            )
    ambiguous = sorted(set(arguments) & set(contract.columns))
    if ambiguous:
        raise ProjectError(
            f"features.py: {ambiguous[0]!r} is the name of a feature and of a column.",
            "Rename the feature.",
        )
