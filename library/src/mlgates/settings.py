"""What can be set in `params.yaml`: a class a section, each setting with its type, its default and its meaning."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, Strict, ValidationError
from pydantic.dataclasses import dataclass

from mlgates.errors import ProjectError, nearest
from mlgates.files import read_yaml
from mlgates.grid import Grid
from mlgates.layout import CYCLE, PARAMS

# Strict: a number in quotes is a mistake, and so is `true` where a number is meant. A whole number is a float, too.
Amount = Annotated[float, Strict(), Field(ge=0)]
Count = Annotated[int, Strict(), Field(ge=0)]
AtLeastOne = Annotated[int, Strict(), Field(ge=1)]
Flag = Annotated[bool, Strict()]

ONLY_THESE = ConfigDict(extra="forbid")  # a name that is misspelt is an error


@dataclass(frozen=True, config=ONLY_THESE)
class ValidateSettings:
    """Section `validate`: when a period is bad, and when it has drifted."""

    max_bad_share: Amount = Field(
        default=0.02, description="of a period's rows may break one rule; more fails the period"
    )
    max_quarantine_share: Amount = Field(
        default=0.05, description="of a period's rows may go to quarantine in all"
    )
    min_rows: Count = Field(default=100, description="fewer rows in a period: inconclusive")
    drift_limit: Amount = Field(
        default=0.1,
        description="effect sizes (see docs/handbook.md): distribution, association, label",
    )
    drift_missing: Amount = Field(default=0.05, description="change of a column's missing share")
    drift_volume: Amount = Field(
        default=1.0, description="doublings or halvings of the number of rows"
    )
    drift_duplicates: Amount = Field(
        default=0.05, description="rise of the share of rows with a near twin"
    )
    drift_freshness: Amount = Field(
        default=0.25, description="of a usual period may be lacking at its end"
    )
    drift_late: Amount = Field(
        default=0.05, description="of the rows may belong to the period before"
    )
    drift_min_rows: Count = Field(
        default=1000, description="fewer rows: drift and signs of poison are inconclusive"
    )
    max_trigger_share: Amount = Field(
        default=0.005, description="rise of one value's share in a column of many values"
    )
    max_near_duplicate_share: Amount = Field(
        default=0.01, description="rise of the largest group of near twins"
    )
    max_label_flip_share: Amount = Field(
        default=0.025, description="rise of a slice's surely wrong labels"
    )
    poison_blocking: list[str] = Field(
        default_factory=list,
        description="which of trigger, near_duplicates, label_flips block the promotion; the others warn",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class TrainSettings:
    """Section `train`: which rows a model is fitted on, and from which probability a decision is yes."""

    periods: AtLeastOne = Field(default=3, description="to train on; the next one evaluates")
    holdout_share: Amount = Field(
        default=0.05, description="of the first periods, by key; never trained on"
    )
    evaluation_share: Amount = Field(
        default=0.25, description="by key, only where the contract has no time"
    )
    threshold: Amount = Field(
        default=0.5, description="probability from which a binary decision is yes"
    )
    max_rows: AtLeastOne = Field(
        default=1_000_000, description="rows to train on; more are thinned by key"
    )
    seed: Count = Field(default=0, description="of the fit, and of what is drawn for tuning")


@dataclass(frozen=True, config=ONLY_THESE)
class EvaluateSettings:
    """Section `evaluate`: what is measured of a candidate, and on how many rows."""

    resamples: AtLeastOne = Field(default=400, description="for the 95 % intervals")
    seed: Count = Field(default=0, description="of the resamples and of the noise")
    ablation_rows: Count = Field(
        default=15000,
        description="on which a model is fitted again without each feature, and as many to measure it; 0: none",
    )
    tune_trials: Count = Field(
        default=8, description="of SEARCH in model.py, beside the team's own values; 0: none"
    )
    tune_rows: Count = Field(
        default=15000,
        description="of the training rows to fit each trial on, and at most as many to measure it",
    )
    behavior_rows: Count = Field(
        default=10000,
        description="on which calibration, robustness and changed decisions are measured",
    )
    noise: Amount = Field(
        default=0.02,
        description="of their standard deviation, added to numbers to see whether the scores hold",
    )
    curve_rows: Count = Field(
        default=10000,
        description="of each earlier period, on which a model is fitted for the staleness curve; 0: no curve",
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
        description="auto: average_precision, macro_roc_auc or mean_absolute_error, by task",
    )
    # Two fits of one recipe differ by as much.
    margin: Amount = Field(
        default=0.02,
        description="a smaller loss against the champion is no loss, a smaller gain is no gain"
        " (numbers: a share of the champion's error; so for the other margins)",
    )
    slice_margin: Amount = Field(
        default=0.1, description="a slice may not lose more against the champion"
    )
    slice_min_rows: Count = Field(
        default=200, description="fewer rows of a slice, or of a group: inconclusive"
    )
    slice_floor: Amount = Field(
        default=0.0,
        description="share of the gain over the trivial baseline that each slice must keep, but for the margin",
    )
    slices: dict[str, SliceLimits] = Field(
        default_factory=dict,
        description="other limits for some, by name: {COLUMN=VALUE: {margin: 0.2, floor: 0.1}}",
    )
    fairness_margin: Amount = Field(
        default=0.1,
        description="a rate of a protected group may differ as much from the rest (errors: a share of the mean one)",
    )
    proxy_limit: Amount = Field(
        default=0.8, description="ROC AUC with which features may tell a protected group"
    )
    fairness_blocking: list[str] = Field(
        default_factory=lambda: [
            "true_positive",
            "false_positive",
            "group_calibration",
            "bias",
            "absolute_error",
        ],
        description="the kinds of fairness that block; the others (selection, proxy) warn",
    )
    holdout_margin: Amount = Field(
        default=0.05,
        description="a larger loss on the rows that no training ever saw is a warning",
    )
    feature_margin: Amount = Field(default=0.002, description="a smaller gain of a feature is none")
    staleness_margin: Amount = Field(
        default=0.05,
        description="a model may lose so much by the age of its data; beyond, it is too old, and an equal one"
        " replaces it",
    )
    behavior_min_rows: Count = Field(
        default=1000,
        description="fewer rows: calibration, robustness and changed decisions are inconclusive",
    )
    max_calibration_error: Amount = Field(
        default=0.05,
        description="more than that of its worst opponent: what drift puts off, it puts off in all",
    )
    max_noise_loss: Amount = Field(
        default=0.02,
        description="of the main metric, when the numbers of a request are a little off",
    )
    max_noise_decisions: Amount = Field(
        default=0.05, description="of the decisions may then change"
    )
    max_lookup_loss: Amount = Field(
        default=0.25, description="of the main metric, when one look-up finds nothing"
    )
    max_changed_decisions: Amount = Field(
        default=0.3, description="of the decisions may differ from the champion's"
    )
    max_latency_ms: Amount = Field(default=100.0, description="for the score of one row")
    max_batch_latency_ms: Amount = Field(default=300.0, description="for the scores of 100 rows")
    max_model_size_mb: Amount = Field(default=200.0, description="of the model on disk")
    max_memory_mb: Amount = Field(default=500.0, description="of the model in memory")
    behavior_blocking: list[str] = Field(
        default_factory=lambda: [
            "calibration_error",
            "robustness",
            "latency",
            "model_size",
            "memory",
            "repeatable",
        ],
        description="the kinds of behavior that block; the others (missing_lookup, changed_decisions) warn",
    )
    feature_min_rows: Count = Field(
        default=1000, description="fewer rows: what a feature gains is inconclusive"
    )
    feature_periods: AtLeastOne = Field(
        default=3,
        description="without a gain above the margin, one after the other: the feature is useless",
    )
    feature_microseconds: Amount = Field(
        default=100.0, description="of a row's answer, that any feature may cost"
    )
    microseconds_per_point: Amount = Field(
        default=100.0,
        description="more, for each point that it gains (0.01 of the metric; numbers: 1 % of the error)",
    )
    feature_blocking: list[str] = Field(
        default_factory=lambda: ["cost"],
        description="which of gain and cost block a promotion; the other one warns",
    )
    tune_tolerance: Amount = Field(
        default=0.02,
        description="that the values in params.yaml may lose to the best that tune found",
    )
    tune_blocking: Flag = Field(default=True, description="false: a larger loss is only a warning")
    waive: list[str] = Field(
        default_factory=list,
        description="features spared by both, each with its last day: [NAME until 2027-01-31]",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class PromoteSettings:
    """Section `promote`: the way of a release into service."""

    path: list[str] = Field(
        default_factory=lambda: ["champion"],
        min_length=1,
        description="the aliases that a release passes, in this order",
    )


@dataclass(frozen=True, config=ONLY_THESE)
class ServeSettings:
    """Section `serve`: what the service follows and takes."""

    alias: str = Field(
        default="champion", description="the alias that this machine's service follows"
    )
    max_rows: AtLeastOne = Field(default=1000, description="in one request")


@dataclass(frozen=True, config=ONLY_THESE)
class MonitorSettings:
    """Section `monitor`: when what was served has drifted, or has become worse."""

    min_rows: Count = Field(default=500, description="fewer logged predictions: inconclusive")
    drift_limit: Amount = Field(
        default=0.1,
        description="per column, Wasserstein (in standard deviations) or Jensen-Shannon distance",
    )
    missing_limit: Amount = Field(default=0.05, description="rise of a column's missing share")
    max_drifted_share: Amount = Field(
        default=0.5, description="of the columns may drift before the monitor fails"
    )
    performance_margin: Amount = Field(
        default=0.05, description="loss of the main metric against the gate's measurement"
    )


@dataclass(frozen=True, config=ONLY_THESE)
class SimulateSettings:
    """Section `simulate`: the year that `mlops simulate` plays."""

    rows: AtLeastOne = Field(
        default=3000, description="requests sent to the service in each period"
    )


@dataclasses.dataclass(frozen=True)
class Settings:
    """All settings of a project, by section; `model` is the team's: it is given to `build` in model.py as it is."""

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
RENAMED = {  # settings that were called otherwise before 0.4
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
    """The settings of the project in `root`: the defaults, but for what its `params.yaml` sets.

    Raises: ProjectError for an unknown section or name, naming the nearest known one, or for a value that is not
    allowed.
    """
    return Settings(**_sections(_given(root)))


def _given(root: Path) -> dict[str, Any]:
    given = read_yaml(root / PARAMS) or {}
    if not isinstance(given, dict):
        raise ProjectError("params.yaml must hold sections with names and values.")
    return given


def _sections(given: Mapping[str, Any]) -> dict[str, Any]:
    """Each section of params.yaml as its class."""
    found: dict[str, Any] = {}
    for section, written in given.items():
        if section not in SECTIONS and section != MODEL:
            raise ProjectError(
                f"params.yaml: there is no section {section!r}.",
                nearest(str(section), [*SECTIONS, MODEL]),
            )
        values = {} if written is None else written
        if not isinstance(values, dict):
            raise ProjectError(f"params.yaml: section {section!r} must hold names and values.")
        if section == MODEL:
            found[MODEL] = values
        else:
            found[section] = _section(section, values)
    return found


def _section(section: str, values: Mapping[str, Any]) -> Any:
    """The values of a section as its class. Raises: ProjectError for the first of them that is wrong."""
    for name in values:
        if new := RENAMED.get(f"{section}.{name}"):
            raise ProjectError(f"params.yaml: {section}.{name} is now called {section}.{new}.")
    try:
        return SECTIONS[section](**{str(name): value for name, value in values.items()})
    except ValidationError as error:
        first = error.errors()[0]
    where = ".".join([section, *(str(part) for part in first["loc"])])
    if first["type"] == "unexpected_keyword_argument":
        owner = SliceLimits if len(first["loc"]) > 1 else SECTIONS[section]
        known = [field.name for field in dataclasses.fields(owner)]
        raise ProjectError(
            f"params.yaml: {where} is not a parameter.", nearest(str(first["loc"][-1]), known)
        )
    raise ProjectError(f"params.yaml: {where} is {first['input']!r}. {first['msg']}.")


def shown(root: Path) -> str:
    """All settings as a table: the value that holds, where it is from, and what it means. Raises: as `read` does."""
    given = _given(root)
    settings = read(root)
    rows = []
    for section, kind in SECTIONS.items():
        for name, meaning in _meanings(kind):
            value = dataclasses.asdict(getattr(settings, section))[name]
            origin = PARAMS.name if name in (given.get(section) or {}) else "default"
            first, *others = (
                [str(item) for item in value] if isinstance(value, list) and value else [str(value)]
            )
            rows.append([f"{section}.{name}", first, origin, meaning])
            rows += [
                ["", other, "", ""] for other in others
            ]  # a list has a line for each of its items
    for name, value in settings.model.items():
        rows.append(
            [f"{MODEL}.{name}", str(value), PARAMS.name, "given to build() in model.py as it is"]
        )
    return Grid(["parameter", "value", "from", "meaning"], rows).text()


def _meanings(kind: type) -> Iterator[tuple[str, str]]:
    """Each setting of a section, and what it means."""
    for name, field in kind.__pydantic_fields__.items():  # type: ignore[attr-defined]
        yield name, field.description


def waiver(written: object, known: Iterable[str], where: str, what: str) -> tuple[str, date]:
    """The name and the last day of `NAME until 2027-01-31`. Raises: ProjectError if either is none."""
    name, _, day = str(written).partition(" until ")
    if name not in known:
        raise ProjectError(f"{where} names {name!r}, which is no {what}.", nearest(name, known))
    try:
        return name, date.fromisoformat(day)
    except ValueError:
        message = f"{where} has {written!r}, which names no last day."
        raise ProjectError(message, f"Write it like: {name} until 2027-01-31") from None


def cycle(root: Path) -> dict[str, Any]:
    """`cycle.yaml`: `until`, the last closed period; `champion`, `release` and `age` of the model to beat.

    These are its fingerprint, its name (both null before the first one) and how many periods its data are behind.
    Raises: ProjectError if a key is missing.
    """
    stored = read_yaml(root / CYCLE)
    if not isinstance(stored, dict) or {"until", "champion", "release", "age"} - set(stored):
        raise ProjectError(
            "cycle.yaml must name until, champion, release and age.",
            "Write it again: uv run mlops close",
        )
    return {**stored, "until": None if stored["until"] is None else str(stored["until"])}
