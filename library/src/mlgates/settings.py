"""What can be set in `params.yaml`: a class for each section.

Each setting has a type, a default and a description, which `mlops params` shows as its meaning. The
description of a limit says what is limited: the value is the most that is allowed.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field, Strict, ValidationError
from pydantic.dataclasses import dataclass

from mlgates.answer import Answer
from mlgates.errors import ProjectError, nearest
from mlgates.files import read_yaml
from mlgates.grid import Grid
from mlgates.layout import CYCLE, PARAMS

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

# Strict: a number in quotes is a mistake, and so is `true` where a number is meant. A whole number
# is accepted where a float is meant.
Amount = Annotated[float, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=0)]
AtLeastOne = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]

ONLY_THESE = ConfigDict(extra="forbid")  # a misspelt name is an error


@dataclass(frozen=True, config=ONLY_THESE)
class ValidateSettings:
    """Section `validate`: when a period is bad, and when it has drifted."""

    max_bad_share: Amount = Field(
        default=0.02,
        description="share of a period's rows that may break one rule; above it the period fails",
    )
    max_quarantine_share: Amount = Field(
        default=0.05, description="share of a period's rows that may be in quarantine in all"
    )
    min_rows: Count = Field(default=100, description="a period with fewer rows is inconclusive")
    drift_limit: Amount = Field(
        default=0.1,
        description="effect size of the drift of a distribution, an association or the label"
        " (docs/handbook.md, validate)",
    )
    drift_missing: Amount = Field(
        default=0.05, description="change of the share of missing values in a column"
    )
    drift_volume: Amount = Field(
        default=1.0, description="doublings or halvings of the number of rows"
    )
    drift_duplicates: Amount = Field(
        default=0.05, description="rise of the share of rows with a near duplicate"
    )
    drift_freshness: Amount = Field(
        default=0.25, description="share of a usual period that may be missing at its end"
    )
    drift_late: Amount = Field(
        default=0.05, description="share of the rows that may belong to the period before"
    )
    drift_min_rows: Count = Field(
        default=1000, description="with fewer rows, drift and signs of poison are inconclusive"
    )
    max_trigger_share: Amount = Field(
        default=0.005,
        description="sign of poison: rise of one value's share, in a column of many values",
    )
    max_near_duplicate_share: Amount = Field(
        default=0.01, description="sign of poison: rise of the largest group of near duplicates"
    )
    max_label_flip_share: Amount = Field(
        default=0.025,
        description="sign of poison: rise of a slice's share of labels that contradict a confident"
        " prediction",
    )
    poison_blocking: list[str] = Field(
        default_factory=list,
        description="signs of poison (trigger, near_duplicates, label_flips) that block a"
        " promotion; the others warn",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class TrainSettings:
    """Section `train`: the rows that a model is fitted on, and the threshold of its decisions."""

    periods: AtLeastOne = Field(
        default=3, description="periods to train on; the one after them is for evaluation"
    )
    holdout_share: Amount = Field(
        default=0.05, description="share of the first periods' keys that is never trained on"
    )
    evaluation_share: Amount = Field(
        default=0.25,
        description="share of the keys to evaluate on, where the contract has no time",
    )
    threshold: Amount = Field(
        default=0.5, description="probability from which a binary decision is yes"
    )
    max_rows: AtLeastOne = Field(
        default=1_000_000,
        description="rows to train on; if there are more, they are thinned by key",
    )
    seed: Count = Field(
        default=0, description="seed of the fit, and of the values drawn for tuning"
    )


@dataclass(frozen=True, config=ONLY_THESE)
class EvaluateSettings:
    """Section `evaluate`: what is measured of a candidate, and on how many rows."""

    resamples: AtLeastOne = Field(default=400, description="resamples for the 95 % intervals")
    seed: Count = Field(default=0, description="seed of the resamples and of the noise")
    ablation_rows: Count = Field(
        default=15000,
        description="rows to fit a model on without one feature, and as many to measure it on;"
        " 0: no ablation",
    )
    tune_trials: Count = Field(
        default=8,
        description="values of SEARCH in model.py to try, beside the team's own; 0: no tuning",
    )
    tune_rows: Count = Field(
        default=15000,
        description="training rows to fit each trial on, and at most as many to measure it on",
    )
    behavior_rows: Count = Field(
        default=10000,
        description="rows on which calibration, robustness and changed decisions are measured",
    )
    noise: Amount = Field(
        default=0.02,
        description="noise added to numbers to measure robustness, in their standard deviations",
    )
    curve_rows: Count = Field(
        default=10000,
        description="rows of each earlier period to fit a model on, for the staleness curve;"
        " 0: no curve",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class SliceLimits:
    """Limits of one slice, in place of those that hold for all."""

    margin: Amount | None = Field(default=None, description="in place of slice_margin")
    floor: Amount | None = Field(default=None, description="in place of slice_floor")


@dataclass(frozen=True, config=ONLY_THESE)
class GateSettings:
    """Section `gate`: the limits that a candidate is judged by, and which checks block."""

    metric: str = Field(
        default="auto",
        description="main metric; auto: average_precision, macro_roc_auc or mean_absolute_error,"
        " by task",
    )
    # Two fits of the same model differ by as much, by chance.
    margin: Amount = Field(
        default=0.02,
        description="a smaller loss or gain against the champion does not count (regression: as a"
        " share of the champion's error; so for all margins)",
    )
    slice_margin: Amount = Field(
        default=0.1, description="loss against the champion that a slice may have"
    )
    slice_min_rows: Count = Field(
        default=200, description="a slice or a group with fewer rows is inconclusive"
    )
    slice_floor: Amount = Field(
        default=0.0,
        description="share of the gain over the trivial baseline that each slice must keep, less"
        " the margin",
    )
    slices: dict[str, SliceLimits] = Field(
        default_factory=dict,
        description="limits of single slices: {COLUMN=VALUE: {margin: 0.2, floor: 0.1}}",
    )
    fairness_margin: Amount = Field(
        default=0.1,
        description="difference of a rate between a protected group and all other rows (errors: as"
        " a share of the mean error)",
    )
    proxy_limit: Amount = Field(
        default=0.8, description="ROC AUC with which features may predict a protected group"
    )
    fairness_blocking: list[str] = Field(
        default_factory=lambda: [
            "true_positive",
            "false_positive",
            "group_calibration",
            "bias",
            "absolute_error",
        ],
        description="kinds of fairness that block; the others (selection, proxy) warn",
    )
    holdout_margin: Amount = Field(
        default=0.05,
        description="a larger loss on the hold-out, which no training ever saw, is a warning",
    )
    feature_margin: Amount = Field(
        default=0.002, description="a smaller gain of a feature does not count"
    )
    staleness_margin: Amount = Field(
        default=0.05,
        description="loss that a model may have by the age of its data; above it, it is too old and"
        " an equal candidate replaces it",
    )
    behavior_min_rows: Count = Field(
        default=1000,
        description="with fewer rows, calibration, robustness and changed decisions are"
        " inconclusive",
    )
    # Drift puts off the probabilities of every model. So the candidate is compared with others on
    # the same rows, and not with 0.
    max_calibration_error: Amount = Field(
        default=0.05,
        description="calibration error above that of the worst of champion and baselines",
    )
    max_noise_loss: Amount = Field(
        default=0.02,
        description="loss of the main metric when noise is added to the numbers of a request",
    )
    max_noise_decisions: Amount = Field(
        default=0.05, description="share of the decisions that may change with that noise"
    )
    max_lookup_loss: Amount = Field(
        default=0.25, description="loss of the main metric while one look-up is missing"
    )
    max_changed_decisions: Amount = Field(
        default=0.3, description="share of the decisions that may differ from the champion's"
    )
    max_latency_ms: Amount = Field(default=100.0, description="milliseconds to score one row")
    max_batch_latency_ms: Amount = Field(
        default=300.0, description="milliseconds to score 100 rows"
    )
    max_model_size_mb: Amount = Field(default=200.0, description="megabytes of the model on disk")
    max_memory_mb: Amount = Field(default=500.0, description="megabytes of the model in memory")
    behavior_blocking: list[str] = Field(
        default_factory=lambda: [
            "calibration_error",
            "robustness",
            "latency",
            "model_size",
            "memory",
            "repeatable",
        ],
        description="kinds of behavior that block; the others (missing_lookup, changed_decisions)"
        " warn",
    )
    feature_min_rows: Count = Field(
        default=1000, description="with fewer rows, the gain of a feature is inconclusive"
    )
    feature_periods: AtLeastOne = Field(
        default=3,
        description="periods in a row without a gain above the margin; then the feature is useless",
    )
    feature_microseconds: Amount = Field(
        default=100.0, description="microseconds that any feature may cost, for each row"
    )
    microseconds_per_point: Amount = Field(
        default=100.0,
        description="further microseconds for each point that it gains (0.01 of the metric;"
        " regression: 1 % of the error)",
    )
    feature_blocking: list[str] = Field(
        default_factory=lambda: ["cost"],
        description="which of gain and cost block a promotion; the other one warns",
    )
    tune_tolerance: Amount = Field(
        default=0.02,
        description="loss of the values in params.yaml against the best that tuning found",
    )
    tune_blocking: Flag = Field(
        default=True, description="true: a larger loss blocks a promotion; false: it is a warning"
    )
    waive: list[str] = Field(
        default_factory=list,
        description="features exempt from gain and cost until a last day: [NAME until 2027-01-31]",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class PromoteSettings:
    """Section `promote`: the way of a release into service."""

    path: list[str] = Field(
        default_factory=lambda: ["champion"],
        min_length=1,
        description="aliases that a release passes, in this order",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class ServeSettings:
    """Section `serve`: which release the service serves, and how large a request may be."""

    alias: str = Field(default="champion", description="alias that this machine's service follows")
    max_rows: AtLeastOne = Field(default=1000, description="rows in one request")


@dataclass(frozen=True, config=ONLY_THESE)
class MonitorSettings:
    """Section `monitor`: when what was served has drifted, or has become worse."""

    min_rows: Count = Field(
        default=500, description="with fewer logged predictions, checks are inconclusive"
    )
    drift_limit: Amount = Field(
        default=0.1,
        description="distance of a column from the reference: Wasserstein in standard deviations,"
        " or Jensen-Shannon",
    )
    missing_limit: Amount = Field(
        default=0.05, description="rise of the share of missing values in a column"
    )
    max_drifted_share: Amount = Field(
        default=0.5, description="share of the columns that may drift before the monitor fails"
    )
    performance_margin: Amount = Field(
        default=0.05, description="loss of the main metric against what the gate measured"
    )


@dataclass(frozen=True, config=ONLY_THESE)
class SimulateSettings:
    """Section `simulate`: the year that `mlops simulate` plays."""

    rows: AtLeastOne = Field(
        default=3000, description="requests sent to the service in each period"
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a project, by section.

    `model` is the team's own section: it is given to `build` in model.py as it is.
    """

    validate: ValidateSettings = dataclasses.field(default_factory=ValidateSettings)
    train: TrainSettings = dataclasses.field(default_factory=TrainSettings)
    model: dict[str, Any] = dataclasses.field(default_factory=dict)
    evaluate: EvaluateSettings = dataclasses.field(default_factory=EvaluateSettings)
    gate: GateSettings = dataclasses.field(default_factory=GateSettings)
    promote: PromoteSettings = dataclasses.field(default_factory=PromoteSettings)
    serve: ServeSettings = dataclasses.field(default_factory=ServeSettings)
    monitor: MonitorSettings = dataclasses.field(default_factory=MonitorSettings)
    simulate: SimulateSettings = dataclasses.field(default_factory=SimulateSettings)


SECTIONS = {
    "validate": ValidateSettings,
    "train": TrainSettings,
    "evaluate": EvaluateSettings,
    "gate": GateSettings,
    "promote": PromoteSettings,
    "serve": ServeSettings,
    "monitor": MonitorSettings,
    "simulate": SimulateSettings,
}
MODEL = "model"
RENAMED = {  # settings that had another name before 0.4, with their present one
    "validate.max_flood_share": "max_near_duplicate_share",
    "validate.max_flipped_share": "max_label_flip_share",
    "evaluate.conduct_rows": "behavior_rows",
    "gate.group_margin": "fairness_margin",
    "gate.group_vetoes": "fairness_blocking",
    "gate.fairness_vetoes": "fairness_blocking",
    "gate.behavior_vetoes": "behavior_blocking",
    "gate.feature_vetoes": "feature_blocking",
    "gate.tune_vetoes": "tune_blocking",
    "validate.poison_vetoes": "poison_blocking",
    "gate.conduct_min_rows": "behavior_min_rows",
    "gate.conduct_vetoes": "behavior_blocking",
    "gate.max_churn": "max_changed_decisions",
    "gate.max_milliseconds": "max_latency_ms",
    "gate.max_batch_milliseconds": "max_batch_latency_ms",
    "gate.max_megabytes": "max_model_size_mb",
    "gate.max_memory_megabytes": "max_memory_mb",
    "monitor.quality_margin": "performance_margin",
}


def read(root: Path) -> Settings:
    """The settings of the project in `root`: the defaults, and what its `params.yaml` overrides.

    Raises: ProjectError for an unknown section or name, with the nearest known one, and for a
    value that is not allowed.
    """
    return Settings(**_sections(_params(root)))


def _params(root: Path) -> dict[str, Any]:
    """params.yaml as it is written."""
    params = read_yaml(root / PARAMS) or {}  # an empty file is None
    if not isinstance(params, dict):
        raise ProjectError("params.yaml must hold sections with names and values.")
    return params


def _sections(params: Mapping[str, Any]) -> dict[str, Any]:
    """Each section of params.yaml as its class; `model` as it is written."""
    sections: dict[str, Any] = {}
    for name, written in params.items():
        if name not in SECTIONS and name != MODEL:
            raise ProjectError(
                f"params.yaml: there is no section {name!r}.",
                nearest(str(name), [*SECTIONS, MODEL]),
            )
        values = {} if written is None else written  # a section without any lines is None
        if not isinstance(values, dict):
            raise ProjectError(f"params.yaml: section {name!r} must hold names and values.")
        if name == MODEL:
            sections[MODEL] = values
        else:
            sections[name] = _section(name, values)
    return sections


def _section(section: str, values: Mapping[str, Any]) -> Any:
    """The values of a section as its class. Raises: ProjectError for the first wrong value."""
    for name in values:
        new_name = RENAMED.get(f"{section}.{name}")
        if new_name:
            raise ProjectError(f"params.yaml: {section}.{name} is now called {section}.{new_name}.")
    arguments = {str(name): value for name, value in values.items()}
    try:
        return SECTIONS[section](**arguments)
    except ValidationError as error:
        raise _wrong_value(section, error.errors()[0]) from None


def _wrong_value(section: str, error: "ErrorDetails") -> ProjectError:
    """The message for what pydantic found in a section of params.yaml."""
    location = [str(part) for part in error["loc"]]
    parameter = ".".join([section, *location])
    if error["type"] == "unexpected_keyword_argument":
        # Below a section there are only the limits of single slices.
        owner = SECTIONS[section] if len(location) == 1 else SliceLimits
        names = [field.name for field in dataclasses.fields(owner)]
        return ProjectError(
            f"params.yaml: {parameter} is not a parameter.", nearest(location[-1], names)
        )
    return ProjectError(f"params.yaml: {parameter} is {error['input']!r}. {error['msg']}.")


def shown(root: Path) -> Answer:
    """All settings as a table: value, whether it is the default, and meaning.

    Raises: ProjectError as `read` does.
    """
    params = _params(root)
    settings = read(root)
    parameters: dict[str, dict[str, Any]] = {}
    for section, kind in SECTIONS.items():
        values = dataclasses.asdict(getattr(settings, section))
        names_in_params = params.get(section) or {}
        for name, meaning in _meanings(kind):
            origin = PARAMS.name if name in names_in_params else "default"
            parameters[f"{section}.{name}"] = {
                "value": values[name],
                "from": origin,
                "meaning": meaning,
            }
    for name, value in settings.model.items():
        parameters[f"{MODEL}.{name}"] = {
            "value": value,
            "from": PARAMS.name,
            "meaning": "given to build() in model.py as it is",
        }

    rows: list[list[str]] = []
    for name, parameter in parameters.items():
        first_line, *further_lines = _value_lines(parameter["value"])
        rows.append([name, first_line, parameter["from"], parameter["meaning"]])
        for line in further_lines:
            rows.append(["", line, "", ""])
    table = Grid(["parameter", "value", "from", "meaning"], rows).text()
    return Answer(table, {"parameters": parameters})


def _value_lines(value: object) -> list[str]:
    """A value as text; a list has a line for each item, so that the table fits a screen."""
    if isinstance(value, list) and value:
        return [str(item) for item in value]
    return [str(value)]


def _meanings(section: type) -> Iterator[tuple[str, str]]:
    """The names of a section's settings, each with its meaning."""
    for name, field in section.__pydantic_fields__.items():  # type: ignore[attr-defined]
        yield name, field.description


def waiver(written: object, known: Iterable[str], where: str, what: str) -> tuple[str, date]:
    """The name and the last day of a waiver, written like `NAME until 2027-01-31`.

    `known` are the names that can be waived, `what` says what they are ("feature"), and `where`
    names the place of the waiver for an error.
    Raises: ProjectError if the name is not known or there is no last day.
    """
    name, _, day = str(written).partition(" until ")
    if name not in known:
        raise ProjectError(f"{where} names {name!r}, which is no {what}.", nearest(name, known))
    try:
        return name, date.fromisoformat(day)
    except ValueError:
        raise ProjectError(
            f"{where} has {written!r}, which names no last day.",
            f"Write it like: {name} until 2027-01-31",
        ) from None


def cycle(root: Path) -> dict[str, Any]:
    """The content of `cycle.yaml`.

    - `until`: the last closed period
    - `champion`: the fingerprint of the model to beat; None before the first one
    - `release`: its name; None before the first one
    - `age`: how many periods its data are behind

    Raises: ProjectError if a key is missing.
    """
    cycle = read_yaml(root / CYCLE)
    keys = {"until", "champion", "release", "age"}
    if not isinstance(cycle, dict) or keys - set(cycle):
        raise ProjectError(
            "cycle.yaml must name until, champion, release and age.",
            "Write it again: uv run mlops close",
        )
    until = cycle["until"]
    if until is not None:
        until = str(until)  # YAML reads 2026 as a number, and 2026-01-01 as a date
    return {**cycle, "until": until}
