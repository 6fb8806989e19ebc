"""What others must know about a model: a card for people (Mitchell et al., 2019).

The stage gate makes it from the reports of the stages before. A section that has to come from
measurements and is empty fails `gate.model_card`. What only people know comes from schema.py, and
the card says where to write it. The same facts for programs are in `mlgates.gate.sbom`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from platform import python_version
from typing import Any

from mlgates.contract import Contract
from mlgates.files import read_json, write_json, write_text
from mlgates.gate.sbom import StoredReport, bom, libraries
from mlgates.grid import Grid
from mlgates.layout import BOM, CARD, MANIFEST, METRICS, TRAINING
from mlgates.project import Project
from mlgates.reports import MARKS, number
from mlgates.settings import Settings
from mlgates.verdict import Check, Report, at_most


@dataclass(frozen=True)
class Section:
    """A heading with its text.

    `by` is the place where people write the text; it is empty for what comes from measurements.
    """

    title: str
    text: str
    by: str = ""


def sections(
    contract: Contract,
    measured: StoredReport,
    trained: StoredReport,
    manifest: StoredReport,
    settings: Settings,
    report: Report,
) -> list[Section]:
    """The sections of the card, in its order.

    `measured`, `trained` and `manifest` are the reports of these names, `report` is the gate's
    with the checks so far.
    """
    return [
        *_purpose(contract, measured, report),
        Section("Features", ", ".join(trained["features"])),
        *_data(measured, trained, manifest),
        *_results(measured, report),
        *_settings(settings),
    ]


def _purpose(contract: Contract, measured: StoredReport, report: Report) -> list[Section]:
    """Which model it is, what it predicts and for whom, and who owns it."""
    compared = "There was no champion to compare it with."
    if measured["champion"]:
        release = report.facts.get("champion_release") or measured["champion"][:8]
        compared = f"Compared with the champion {release}."
    model_id = str(report.facts.get("id", ""))[:8]
    classes = f" of {', '.join(contract.classes)}" if contract.classes else ""
    outcome = contract.outcome
    prediction = f"`{outcome.label}`: {contract.task}{classes}. {outcome.description}"
    columns = ", ".join(contract.request_columns)
    return [
        Section("Model", f"{model_id} (SHA-256 {measured['model']}). {compared}".strip()),
        Section("What it predicts", prediction.strip()),
        Section(
            "What it is for",
            (contract.request.__doc__ or "").strip(),
            by="docstring of the request in schema.py",
        ),
        Section("Owner", _about(contract, "owner"), by="About(owner=...) in schema.py"),
        Section(
            "Licence of the data",
            _about(contract, "licence"),
            by="About(licence=...) in schema.py",
        ),
        Section("How to use it", f"`uv run bentoml serve`, POST /predict: {columns}"),
    ]


def _about(contract: Contract, field: str) -> str:
    """All different values of a field of `About` that the contract's columns have."""
    values = {getattr(column.about, field) for column in contract.columns.values()}
    return ", ".join(sorted(values - {""}))


def _data(measured: StoredReport, trained: StoredReport, manifest: StoredReport) -> list[Section]:
    """What the model was trained and evaluated on."""
    periods = measured["periods"]
    fitted = f"The model was fitted on {trained['rows']['fitted']:,} rows."
    evaluated = f"The model was evaluated on {measured['rows']:,} rows."
    return [
        Section("Trained on", _tables(periods["train"], manifest, fitted)),
        Section("Evaluated on", _tables(periods["evaluation"], manifest, evaluated)),
    ]


def _tables(periods: Sequence[str], manifest: StoredReport, sentence: str) -> str:
    """The sentence, then all tables of some periods with their hashes.

    Empty, which fails the check, if there is no period, or if the manifest has no table of one:
    then it could not be shown which data that was.
    """
    if not periods or not all(manifest.get(period) for period in periods):
        return ""
    rows = []
    for period in periods:
        for table, entry in manifest[period].items():
            rows.append([period, table, f"{entry['rows']:,}", entry["sha256"]])
    grid = Grid(["period", "table", "rows", "SHA-256"], rows)
    return f"{sentence}\n\n{grid.markdown()}"


def _results(measured: StoredReport, report: Report) -> list[Section]:
    """What was measured of the model, and what the gate says of it."""
    metric_rows = list(_metric_rows(measured["values"], report))
    metrics = Grid(["model", "metric", "value", "95 %"], metric_rows)
    results = [Section("Metrics", metrics.markdown())]

    if measured["slices"]:
        slice_rows = list(_slice_rows(measured, report.facts["metric"]))
        slices = Grid(["slice", "rows", "metric", "value", "95 %"], slice_rows)
        results.append(Section("Slices", slices.markdown()))

    check_rows = []
    for check in report.checks:
        value, limit = number(check.value), number(check.limit)
        check_rows.append([MARKS[check.verdict], check.name, value, limit])
    checks = Grid(["verdict", "check", "value", "limit"], check_rows)
    results.append(Section("Verdict", checks.markdown()))
    return results


def _metric_rows(values: StoredReport, report: Report) -> Iterator[list[str]]:
    """A row for each model and metric; none at all if the main metric was not measured."""
    if report.facts.get("value") is None:
        return
    for model, metrics in values.items():
        for metric, estimate in metrics.items():
            yield [model, metric, *_value_and_interval(estimate)]


def _slice_rows(measured: StoredReport, metric: str) -> Iterator[list[str]]:
    """A row for each slice: the candidate's main metric."""
    for entry in measured["slices"]:
        estimate = entry["candidate"][metric]
        name = f"{entry['column']}={entry['value']}"
        yield [name, f"{entry['rows']:,}", metric, *_value_and_interval(estimate)]


def _value_and_interval(estimate: Mapping[str, Any]) -> list[str]:
    low, high = estimate["interval"]
    interval = "" if low is None else f"{number(low)} to {number(high)}"
    return [number(estimate["value"]), interval]


def _settings(settings: Settings) -> list[Section]:
    """What the model was made and judged with."""
    training = {**asdict(settings.train), **settings.model}
    packages = f"Python {python_version()} and {len(libraries())} packages, which bom.json names"
    return [
        Section("Limits of the gate", _listed(asdict(settings.gate))),
        Section("Parameters of training", _listed(training)),
        Section("Libraries", packages),
    ]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}: {value}" for name, value in values.items())


def complete(card: Sequence[Section]) -> Check:
    """`gate.model_card`: every section that comes from measurements says something."""
    evidence = ""
    empty = [section.title for section in card if not (section.by or section.text)]
    if empty:
        evidence = f"empty: {', '.join(empty)}"
    return at_most("gate.model_card", len(empty), 0, len(card), evidence=evidence)


def markdown(card: Sequence[Section]) -> str:
    """The card for people, as Markdown."""
    introduction = "Made by the stage `gate`: (auto) from measurements, (by people) from schema.py."
    lines = ["# Model card", "", introduction]
    for section in card:
        origin, absent = "auto", "**Empty.**"
        if section.by:
            origin, absent = "by people", f"To be written: {section.by}."
        lines += ["", f"## {section.title} ({origin})", "", section.text or absent]
    return "\n".join(lines) + "\n"


def card_of_candidate(project: Project, report: Report) -> list[Section]:
    """The card of the candidate, from the reports of the stages before and the contract."""
    return sections(project.contract, *_stage_reports(project), project.settings(), report)


def write(project: Project, report: Report) -> None:
    """Write card and bill of materials."""
    write_text(project.root / CARD, markdown(card_of_candidate(project, report)))
    write_json(project.root / BOM, bom(project, *_stage_reports(project)))


def _stage_reports(project: Project) -> tuple[StoredReport, StoredReport, StoredReport]:
    """What evaluate measured, what train wrote, and the manifest of the data."""
    measured = read_json(project.root / METRICS)
    trained = read_json(project.root / TRAINING)
    manifest = read_json(project.root / MANIFEST)
    return measured, trained, manifest
