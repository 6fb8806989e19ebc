"""The software bill of materials of a model, in the CycloneDX format."""

import functools
from collections.abc import Iterator, Mapping
from importlib.metadata import distributions
from types import MappingProxyType
from typing import Any

from mlgates import dvc_lock
from mlgates.contract import Contract
from mlgates.project import Project

StoredReport = Mapping[str, Any]  # a report of a stage, as it is read from its JSON file


@functools.cache
def libraries() -> Mapping[str, str]:
    """The version of every installed package, by name and sorted by it.

    Read once in a process, because it takes half a second.
    """
    versions = {}
    for package in distributions():
        name = package.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        versions[name] = package.version
    return MappingProxyType(dict(sorted(versions.items())))


def bom(
    project: Project, measured: StoredReport, trained: StoredReport, manifest: StoredReport
) -> dict[str, Any]:
    """CycloneDX 1.6: the model with its card, its data by period and hash, and all libraries.

    `measured`, `trained` and `manifest` are the reports of these names. Nothing in the result is
    random, so equal models have equal bills.
    """
    data = list(_data_components(project, measured, manifest))
    packages = list(_package_components())
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": project.package,
        "version": dvc_lock.candidate_id(project)[:8],
        "hashes": [{"alg": "SHA-256", "content": measured["model"]}],
        "modelCard": _model_card(project.contract, measured, data),
    }
    components = [*data, *packages]
    references = [component["bom-ref"] for component in components]
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": components,
        "dependencies": [{"ref": "model", "dependsOn": references}],
    }


def _data_components(
    project: Project, measured: StoredReport, manifest: StoredReport
) -> Iterator[dict[str, Any]]:
    """Each table of each period that the model was trained or evaluated on, with its hash."""
    used = [*measured["periods"]["train"], *measured["periods"]["evaluation"]]
    for period in dict.fromkeys(used):  # a period that is used twice is named once
        for table, entry in manifest.get(period, {}).items():
            yield {
                "type": "data",
                "bom-ref": f"data/{period}/{table}",
                "name": f"{project.package} {period} {table}",
                "hashes": [{"alg": "SHA-256", "content": entry["sha256"]}],
                "data": [{"type": "dataset", "name": table}],
            }


def _package_components() -> Iterator[dict[str, Any]]:
    """Each installed package, with its package URL."""
    for name, version in libraries().items():
        url = f"pkg:pypi/{name}@{version}"
        yield {
            "type": "library",
            "bom-ref": url,
            "name": name,
            "version": version,
            "purl": url,
        }


def _model_card(
    contract: Contract, measured: StoredReport, data: list[dict[str, Any]]
) -> dict[str, Any]:
    """The model card in the form of CycloneDX: parameters, metrics by slice, and its purpose."""
    inputs = []
    for name, column in contract.request_columns.items():
        inputs.append({"format": f"{name} ({column.kind})"})
    output = {"format": f"{contract.outcome.label} ({contract.outcome.kind})"}
    purpose = contract.request.__doc__ or contract.outcome.label
    return {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": contract.task,
            "datasets": [{"ref": component["bom-ref"]} for component in data],
            "inputs": inputs,
            "outputs": [output],
        },
        "quantitativeAnalysis": {"performanceMetrics": list(_performance_metrics(measured))},
        "considerations": {"useCases": [purpose.strip()]},
    }


def _performance_metrics(measured: StoredReport) -> Iterator[dict[str, Any]]:
    """Every metric of the candidate: on all rows, then on each slice."""
    for metric, estimate in measured["values"]["candidate"].items():
        yield _performance_metric(metric, estimate, {})
    for entry in measured["slices"]:
        where = {"slice": f"{entry['column']}={entry['value']}"}
        for metric, estimate in entry["candidate"].items():
            yield _performance_metric(metric, estimate, where)


def _performance_metric(
    metric: str, estimate: Mapping[str, Any], where: Mapping[str, str]
) -> dict[str, Any]:
    """One metric with its interval, if it has one; CycloneDX wants numbers as text."""
    entry: dict[str, Any] = {"type": metric, "value": str(estimate["value"]), **where}
    low, high = estimate["interval"]
    if low is not None:
        entry["confidenceInterval"] = {"lowerBound": str(low), "upperBound": str(high)}
    return entry
