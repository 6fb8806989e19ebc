"""What others must know of a model: the card for people (Mitchell et al., 2019), the bill of materials for programs.

Both are made by `gate` from what was measured. A section that ought to be measured and is empty fails `gate.card`; what
only people know comes from schema.py, and the card says where it is missing.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distributions
from pathlib import Path
from platform import python_version
from typing import Any

from ..contract import Contract
from ..project import PACKAGE, params, read_json, write_json, write_text, yours
from ..report import MARKS, number
from ..verdict import Check, Report, at_most

CARD, BOM = Path("reports/card.md"), Path("reports/bom.json")
SLICES = ["slice", "rows", "metric", "value", "95 %"]
Found = Mapping[str, Any]


@dataclass(frozen=True)
class Section:
    """A heading with its text; `by` is where people write it, and empty for what is measured."""

    title: str
    text: str
    by: str = ""


def sections(
    contract: Contract, measured: Found, trained: Found, manifest: Found, settings: Found, report: Report
) -> list[Section]:
    """The card. `measured`, `trained` and `manifest` are the reports of these names, `report` is the gate's so far."""
    periods, rows, outcome = measured["periods"], trained["rows"], contract.outcome
    checks = [[MARKS[check.verdict], check.name, number(check.value), number(check.limit)] for check in report.checks]
    columns = contract.columns.values()
    about = {role: ", ".join(sorted({getattr(c.about, role) for c in columns} - {""})) for role in ("owner", "licence")}
    told = (contract.request.__doc__ or "").strip()
    classes = f" of {', '.join(contract.classes)}" if contract.classes else ""
    return [
        Section("Model", f"SHA-256 {measured['model']}, against {measured['opponent'] or 'no champion'}"),
        Section("What it predicts", f"`{outcome.label}`: {contract.task}{classes}. {outcome.description}".strip()),
        Section("What it is for", told, "docstring of the request in schema.py"),
        Section("Owner", about["owner"], "About(owner=...) in schema.py"),
        Section("Licence of the data", about["licence"], "About(licence=...) in schema.py"),
        Section("How to use it", f"`uv run bentoml serve`, POST /predict: {', '.join(contract.request_columns)}"),
        Section("Features", ", ".join(trained["features"])),
        Section("Trained on", _periods(periods["train"], manifest, f"{rows['fitted']:,} rows were fitted")),
        Section("Evaluated on", _periods(periods["evaluation"], manifest, f"{measured['rows']:,} rows were measured")),
        Section("Metrics", _table(["model", *SLICES[2:]], _metrics(measured["values"], report))),
        *([Section("Slices", _table(SLICES, _slices(measured, report.facts["metric"])))] if measured["slices"] else []),
        Section("Verdict", _table(["verdict", "check", "value", "limit"], checks)),
        Section("Limits of the gate", _values(settings["gate"])),
        Section("Parameters of training", _values({**settings["train"], **settings["model"]})),
        Section("Libraries", f"Python {python_version()}, and all that bom.json names: {len(libraries())} packages"),
    ]


def complete(card: Sequence[Section]) -> Check:
    """`gate.card`: every section that is not written by people says something."""
    empty = [section.title for section in card if not section.by and not section.text]
    return at_most("gate.card", len(empty), 0, len(card), evidence=f"empty: {', '.join(empty)}" if empty else "")


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


def _estimate(found: Found) -> list[str]:
    low, high = found["interval"]
    return [number(found["value"]), "" if low is None else f"{number(low)} to {number(high)}"]


def _periods(names: Sequence[str], manifest: Found, told: str) -> str:
    """Periods with the hashes of their tables; empty if one was closed with nothing that could be shown."""
    if not names or not all(manifest.get(name) for name in names):
        return ""
    lines = [[name, table, f"{f['rows']:,}", f["sha256"]] for name in names for table, f in manifest[name].items()]
    return f"{told}.\n\n{_table(['period', 'table', 'rows', 'SHA-256'], lines)}"


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    cells = [" | ".join(cell.replace("|", "\\|") for cell in line) for line in lines]
    rule = " | ".join(["---"] * len(head))
    return "\n".join(f"| {line} |" for line in (" | ".join(head), rule, *cells)) if cells else ""


def _values(section: Found) -> str:
    return ", ".join(f"{name}: {value}" for name, value in section.items())


def libraries() -> dict[str, str]:
    """Name and version of every installed package, this project apart."""
    found = {d.metadata["Name"].lower().replace("_", "-").replace(".", "-"): d.version for d in distributions()}
    return {name: found[name] for name in sorted(found) if name != PACKAGE.replace("_", "-")}


def bom(contract: Contract, measured: Found, trained: Found, manifest: Found) -> dict[str, Any]:
    """CycloneDX 1.6: the model with its card, the data by period and hash, the libraries. Nothing in it is random."""
    used = [name for part in ("train", "evaluation") for name in measured["periods"][part]]
    data = [
        {
            "type": "data",
            "bom-ref": f"data/{period}/{table}",
            "name": f"{PACKAGE} {period} {table}",
            "hashes": [{"alg": "SHA-256", "content": found["sha256"]}],
            "data": [{"type": "dataset", "name": table}],
        }
        for period in dict.fromkeys(used)
        for table, found in manifest.get(period, {}).items()
    ]
    packages: list[dict[str, Any]] = []
    for name, version in libraries().items():
        url = f"pkg:pypi/{name}@{version}"
        packages.append({"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url})
    values = [("", measured["values"]["candidate"])]
    values += [(f"{part['column']}={part['value']}", part["candidate"]) for part in measured["slices"]]
    card = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": contract.task,
            "datasets": [{"ref": entry["bom-ref"]} for entry in data],
            "inputs": [{"format": f"{name} ({column.kind})"} for name, column in contract.request_columns.items()],
            "outputs": [{"format": f"{contract.outcome.label} ({contract.outcome.kind})"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _performance(name, found, where) for where, part in values for name, found in part.items()
            ]
        },
        "considerations": {"useCases": [(contract.request.__doc__ or contract.outcome.label).strip()]},
    }
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": PACKAGE,
        "version": measured["model"][:8],
        "hashes": [{"alg": "SHA-256", "content": measured["model"]}],
        "modelCard": card,
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [*data, *packages],
        "dependencies": [{"ref": "model", "dependsOn": [entry["bom-ref"] for entry in (*data, *packages)]}],
    }


def _performance(name: str, found: Found, where: str) -> dict[str, Any]:
    low, high = found["interval"]
    bounds = {} if low is None else {"confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)}}
    return {"type": name, "value": str(found["value"]), **({"slice": where} if where else {}), **bounds}


def drawn(root: Path, report: Report) -> list[Section]:
    """The card of the candidate, from the reports of the stages before and the contract."""
    return sections(yours().contract, *_found(root), params(root), report)


def write(root: Path, report: Report) -> None:
    """Write card and bill of materials."""
    write_text(root / CARD, markdown(drawn(root, report)))
    write_json(root / BOM, bom(yours().contract, *_found(root)))


def _found(root: Path) -> tuple[Found, Found, Found]:
    measured, trained, manifest = (root / "reports" / f"{name}.json" for name in ("metrics", "train", "manifest"))
    return read_json(measured), read_json(trained), read_json(manifest)
