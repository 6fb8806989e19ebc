"""gate: from measurements and limits to a verdict. Pure, and without heavy imports: a new limit re-runs only this."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..project import (
    ProjectError,
    command_line,
    custom,
    cycle,
    find_root,
    nearest,
    params,
    read_json,
    write_json,
    write_text,
)
from ..report import number, page, terminal
from ..verdict import Check, Report, Verdict, not_below

MAIN = {"binary": "average_precision", "multiclass": "macro_roc_auc", "regression": "mean_absolute_error"}


def gate(
    measured: Mapping[str, Any], data: Report, limits: Mapping[str, Any], age: int = 0, release: str | None = None
) -> Report:
    """The verdict on a candidate.

    `measured` is what evaluate wrote, `data` the report of validate, `limits` the section `gate` of the parameters,
    `age` how many periods lie between the champion's data and the newest ones, `release` the champion's name.
    Raises: ProjectError for an unknown metric.
    """
    metric = _metric(measured, limits["metric"])
    rows = measured["rows"]
    checks = [
        Check(
            "gate.data", data.verdict, str(data.verdict), "ok", evidence="the data that it was trained and measured on"
        ),
        Check(
            "gate.finite",
            Verdict.OK if measured["finite"] else Verdict.FAIL,
            rows=rows,
            evidence="every score is a number",
        ),
    ]
    for name in (name for name in sorted(measured["differences"]) if name.startswith("baseline.")):
        settings = {
            "required": name == "baseline.trivial",
            "evidence": "better" if name == "baseline.trivial" else "not worse",
        }
        checks.append(_compare(f"gate.{name}", measured["differences"][name][metric], 0.0, rows, **settings))
    if "champion" in measured["differences"]:
        difference = measured["differences"]["champion"][metric]
        checks.append(_compare("gate.champion", difference, -limits["margin"], rows, evidence="not worse"))
        checks.append(_better(difference, limits, rows, age))
        checks += [_slice(part, metric, limits) for part in measured["slices"]]
    facts = {
        "metric": metric,
        "value": measured["values"]["candidate"][metric]["value"],
        "champion value": measured["values"].get("champion", {}).get(metric, {}).get("value"),
        "model": measured["model"],
        "opponent": measured["opponent"],
        "opponent_release": release,
        "evaluated on": ", ".join(measured["periods"]["evaluation"]),
        "trained on": ", ".join(measured["periods"]["train"]),
        "rows": rows,
        **{name: entry["value"] for name, entry in measured["values"]["candidate"].items()},
    }
    return Report(_title(facts), checks, facts, data.drift)


def _metric(measured: Mapping[str, Any], name: str) -> str:
    known = measured["values"]["candidate"]
    name = MAIN[measured["task"]] if name == "auto" else name
    if name not in known:
        raise ProjectError(f"params.yaml: gate.metric {name!r} was not measured.", nearest(name, known))
    return name


def _title(facts: Mapping[str, Any]) -> str:
    against = "the baselines, for there is no champion yet"
    if facts["opponent"]:
        against = f"champion {facts['opponent_release'] or ''} ({facts['opponent'][:8]})"
    where = f"evaluated on {facts['evaluated on']}, {facts['rows']:,} rows"
    return f"gate  candidate {facts['model'][:8]} against {against}, {where}"


def _compare(name: str, difference: Mapping[str, Any], limit: float, rows: int, **more: Any) -> Check:
    return not_below(name, difference["value"], _interval(difference), limit, rows, **more)


def _interval(difference: Mapping[str, Any]) -> tuple[float, float] | None:
    low, high = difference["interval"]
    return None if low is None or high is None else (low, high)


def _better(difference: Mapping[str, Any], limits: Mapping[str, Any], rows: int, age: int) -> Check:
    """Better by more than a hair: interval above zero, gain above the margin. An old champion need not lose."""
    value, margin, interval = difference["value"], limits["margin"], _interval(difference)
    old = age >= limits["max_age_periods"]
    verdict = Verdict.INSUFFICIENT
    if interval and ((interval[0] >= 0 and value >= margin) or (old and interval[0] >= -margin)):
        verdict = Verdict.OK
    elif interval and interval[1] < (-margin if old else margin):
        verdict = Verdict.FAIL
    evidence = f"better, or not worse and the champion {limits['max_age_periods']} periods old (it is {age})"
    return Check("gate.better", verdict, value, margin, interval, rows, evidence=evidence)


def _slice(part: Mapping[str, Any], metric: str, limits: Mapping[str, Any]) -> Check:
    name = f"gate.slice.{part['column']}={part['value']}"
    new, old = (number(part[model][metric]["value"]) for model in ("candidate", "champion"))
    evidence = f"{new} (champion: {old})"
    settings = {"least": limits["slice_min_rows"], "required": False, "evidence": evidence}
    return _compare(name, part["difference"][metric], -limits["slice_margin"], part["rows"], **settings)


def decide(root: Path) -> Report:
    """The verdict on models/candidate, computed afresh from the measurements in reports/ and the parameters.

    `custom/gate.py` of the team may add checks: `checks(measured) -> list[Check]`.
    """
    measured = read_json(root / "reports" / "metrics.json")
    data = Report.from_dict(read_json(root / "reports" / "validate.json"))
    now = cycle(root)
    report = gate(measured, data, params(root)["gate"], now["age"], now["release"])
    if own := custom("gate"):
        report.checks += own.checks(measured)
    return report


def main() -> int:
    """Run the stage. A veto is a report that says fail, not an error: the pipeline ends well."""
    root = find_root()
    report = decide(root)
    write_json(root / "reports" / "gate.json", report.to_dict())
    write_text(root / "reports" / "gate.html", page(report, sorted((root / "reports" / "pictures").glob("*.svg"))))
    print(terminal(report))
    outcome = {Verdict.OK: "It may be promoted: uv run mlops promote", Verdict.FAIL: "Vetoed. Nothing is promoted."}
    print(outcome.get(report.verdict, "Not shown to be good enough. Nothing is promoted."))
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
