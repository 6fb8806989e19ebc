"""What others must know of a model: the card for people (Mitchell et al., 2019), the bill of materials for programs.

Both are made by `gate` from what was measured. A section that ought to be measured and is empty fails
`gate.model_card`; what only people know comes from schema.py, and the card says where it is missing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from platform import python_version

from mlgates.contract import Contract
from mlgates.files import read_json, write_json, write_text
from mlgates.gate.sbom import Found, bom, libraries
from mlgates.grid import Grid
from mlgates.layout import BOM, CARD, MANIFEST, METRICS, TRAINING
from mlgates.project import Project
from mlgates.reports import MARKS, number
from mlgates.settings import Settings
from mlgates.verdict import Check, Report, at_most

SLICES = ["slice", "rows", "metric", "value", "95 %"]


@dataclass(frozen=True)
class Section:
    """A heading with its text; `by` is where people write it, and empty for what is measured."""

    title: str
    text: str
    by: str = ""


def sections(
    contract: Contract,
    measured: Found,
    trained: Found,
    manifest: Found,
    settings: Settings,
    report: Report,
) -> list[Section]:
    """The card. `measured`, `trained` and `manifest` are the reports of these names, `report` is the gate's so far."""
    periods, rows, outcome = measured["periods"], trained["rows"], contract.outcome
    checks = [
        [MARKS[check.verdict], check.name, number(check.value), number(check.limit)]
        for check in report.checks
    ]
    columns = contract.columns.values()
    about = {
        role: ", ".join(sorted({getattr(c.about, role) for c in columns} - {""}))
        for role in ("owner", "licence")
    }
    told = (contract.request.__doc__ or "").strip()
    classes = f" of {', '.join(contract.classes)}" if contract.classes else ""
    return [
        Section(
            "Model",
            f"{report.facts.get('id', '')[:8]}, SHA-256 {measured['model']}; compared with"
            f" {report.facts.get('champion_release') or 'no champion'}",
        ),
        Section(
            "What it predicts",
            f"`{outcome.label}`: {contract.task}{classes}. {outcome.description}".strip(),
        ),
        Section("What it is for", told, "docstring of the request in schema.py"),
        Section("Owner", about["owner"], "About(owner=...) in schema.py"),
        Section("Licence of the data", about["licence"], "About(licence=...) in schema.py"),
        Section(
            "How to use it",
            f"`uv run bentoml serve`, POST /predict: {', '.join(contract.request_columns)}",
        ),
        Section("Features", ", ".join(trained["features"])),
        Section(
            "Trained on",
            _periods(periods["train"], manifest, f"{rows['fitted']:,} rows were fitted"),
        ),
        Section(
            "Evaluated on",
            _periods(periods["evaluation"], manifest, f"{measured['rows']:,} rows were measured"),
        ),
        Section(
            "Metrics",
            Grid(["model", *SLICES[2:]], list(_metrics(measured["values"], report))).markdown(),
        ),
        *_of_slices(measured, report.facts["metric"]),
        Section("Verdict", Grid(["verdict", "check", "value", "limit"], checks).markdown()),
        Section("Limits of the gate", _values(asdict(settings.gate))),
        Section("Parameters of training", _values({**asdict(settings.train), **settings.model})),
        Section(
            "Libraries",
            f"Python {python_version()}, and all that bom.json names: {len(libraries())} packages",
        ),
    ]


def complete(card: Sequence[Section]) -> Check:
    """`gate.model_card`: every section that is not written by people says something."""
    empty = [section.title for section in card if not section.by and not section.text]
    return at_most(
        "gate.model_card",
        len(empty),
        0,
        len(card),
        evidence=f"empty: {', '.join(empty)}" if empty else "",
    )


def markdown(card: Sequence[Section]) -> str:
    """The card for people."""
    told = "Made by `gate`; (auto): from what was measured, (by people): from what the team wrote."
    lines = ["# Model card", "", told]
    for section in card:
        text = section.text or (f"To be written: {section.by}." if section.by else "**Empty.**")
        lines += ["", f"## {section.title} ({'by people' if section.by else 'auto'})", "", text]
    return "\n".join(lines) + "\n"


def _metrics(values: Found, report: Report) -> Iterable[list[str]]:
    """A line for each model and metric; none at all if the main one was not measured."""
    if report.facts.get("value") is not None:
        for model, metrics in values.items():
            yield from ([model, name, *_estimate(found)] for name, found in metrics.items())


def _slices(measured: Found, metric: str) -> Iterable[list[str]]:
    for part in measured["slices"]:
        estimate = _estimate(part["candidate"][metric])
        yield [f"{part['column']}={part['value']}", f"{part['rows']:,}", metric, *estimate]


def _of_slices(measured: Found, metric: str) -> list[Section]:
    """The section about slices, if the contract names any."""
    if not measured["slices"]:
        return []
    return [Section("Slices", Grid(SLICES, list(_slices(measured, metric))).markdown())]


def _estimate(found: Found) -> list[str]:
    low, high = found["interval"]
    return [number(found["value"]), "" if low is None else f"{number(low)} to {number(high)}"]


def _periods(names: Sequence[str], manifest: Found, told: str) -> str:
    """Periods with the hashes of their tables; empty if one was closed with nothing that could be shown."""
    if not names or not all(manifest.get(name) for name in names):
        return ""
    lines = [
        [name, table, f"{f['rows']:,}", f["sha256"]]
        for name in names
        for table, f in manifest[name].items()
    ]
    return f"{told}.\n\n{Grid(['period', 'table', 'rows', 'SHA-256'], lines).markdown()}"


def _values(section: Found) -> str:
    return ", ".join(f"{name}: {value}" for name, value in section.items())


def drawn(project: Project, report: Report) -> list[Section]:
    """The card of the candidate, from the reports of the stages before and the contract."""
    return sections(project.contract, *_found(project), project.settings(), report)


def write(project: Project, report: Report) -> None:
    """Write card and bill of materials."""
    write_text(project.root / CARD, markdown(drawn(project, report)))
    write_json(project.root / BOM, bom(project, *_found(project)))


def _found(project: Project) -> tuple[Found, Found, Found]:
    measured, trained, manifest = (project.root / path for path in (METRICS, TRAINING, MANIFEST))
    return read_json(measured), read_json(trained), read_json(manifest)
