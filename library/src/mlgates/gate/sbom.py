"""The software bill of materials of a model, in the CycloneDX format."""

import functools
from collections.abc import Mapping
from importlib.metadata import distributions
from types import MappingProxyType
from typing import Any

from mlgates import dvc_lock
from mlgates.project import Project

Found = Mapping[str, Any]  # a report, as it was read


@functools.cache
def libraries() -> Mapping[str, str]:
    """Name and version of every installed package, by name. Read once in a process: it takes half a second."""
    versions = {}
    for package in distributions():
        name = package.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        versions[name] = package.version
    return MappingProxyType(dict(sorted(versions.items())))


def bom(project: Project, measured: Found, trained: Found, manifest: Found) -> dict[str, Any]:
    """CycloneDX 1.6: the model with its card, the data by period and hash, the libraries. Nothing in it is random."""
    contract = project.contract
    used = [name for part in ("train", "evaluation") for name in measured["periods"][part]]
    data = [
        {
            "type": "data",
            "bom-ref": f"data/{period}/{table}",
            "name": f"{project.package} {period} {table}",
            "hashes": [{"alg": "SHA-256", "content": found["sha256"]}],
            "data": [{"type": "dataset", "name": table}],
        }
        for period in dict.fromkeys(used)
        for table, found in manifest.get(period, {}).items()
    ]
    packages: list[dict[str, Any]] = []
    for name, version in libraries().items():
        url = f"pkg:pypi/{name}@{version}"
        packages.append(
            {"type": "library", "bom-ref": url, "name": name, "version": version, "purl": url}
        )
    values = [("", measured["values"]["candidate"])]
    values += [
        (f"{part['column']}={part['value']}", part["candidate"]) for part in measured["slices"]
    ]
    card = {
        "modelParameters": {
            "approach": {"type": "supervised"},
            "task": contract.task,
            "datasets": [{"ref": entry["bom-ref"]} for entry in data],
            "inputs": [
                {"format": f"{name} ({column.kind})"}
                for name, column in contract.request_columns.items()
            ],
            "outputs": [{"format": f"{contract.outcome.label} ({contract.outcome.kind})"}],
        },
        "quantitativeAnalysis": {
            "performanceMetrics": [
                _performance(name, found, where)
                for where, part in values
                for name, found in part.items()
            ]
        },
        "considerations": {
            "useCases": [(contract.request.__doc__ or contract.outcome.label).strip()]
        },
    }
    model = {
        "type": "machine-learning-model",
        "bom-ref": "model",
        "name": project.package,
        "version": dvc_lock.candidate_id(project)[:8],
        "hashes": [{"alg": "SHA-256", "content": measured["model"]}],
        "modelCard": card,
    }
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": model},
        "components": [*data, *packages],
        "dependencies": [
            {"ref": "model", "dependsOn": [entry["bom-ref"] for entry in (*data, *packages)]}
        ],
    }


def _performance(name: str, found: Found, where: str) -> dict[str, Any]:
    low, high = found["interval"]
    bounds = (
        {}
        if low is None
        else {"confidenceInterval": {"lowerBound": str(low), "upperBound": str(high)}}
    )
    return {
        "type": name,
        "value": str(found["value"]),
        **({"slice": where} if where else {}),
        **bounds,
    }
