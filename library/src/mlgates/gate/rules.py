"""gate: from measurements and limits to a verdict. Pure, and without heavy imports: a new limit re-runs only this."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from mlgates import dvc_lock
from mlgates.errors import ProjectError
from mlgates.evaluation.metrics import MAIN, unit
from mlgates.files import read_json, write_json, write_text
from mlgates.gate import behavior_rules, feature_rules, model_card, serving_rules, slice_rules
from mlgates.layout import (
    FEATURES,
    GATE,
    GATE_PAGE,
    METRICS,
    PICTURES,
    REPORTS,
    STALENESS,
    TUNING,
    VALIDATION,
)
from mlgates.limits import compared, expect, interval
from mlgates.project import Project
from mlgates.reports import number, page
from mlgates.settings import GateSettings
from mlgates.verdict import Check, Effect, Report, Verdict


def gate(
    measured: Mapping[str, Any],
    data: Report,
    limits: GateSettings,
    age: int = 0,
    release: str | None = None,
    model_id: str = "",
    ablations: Sequence[Mapping[str, Any]] = (),
    tuning: Mapping[str, Any] | None = None,
    curve: Mapping[str, Any] | None = None,
) -> Report:
    """The verdict on a candidate.

    `measured` is what evaluate wrote, `data` the report of validate, `limits` the section `gate` of the parameters,
    `age` how many periods lie between the champion's data and the newest ones, `release` the champion's name,
    `model_id` the candidate's id,
    `ablations` what ablate wrote, oldest period first, `tuning` what tune wrote, `curve` what age wrote.
    Raises: ProjectError for an unknown metric, waiver or veto.
    """
    oldest, told_age = (
        behavior_rules.oldest(curve, limits.staleness_margin)
        if curve
        else (None, "no curve was measured")
    )
    metric = _metric(measured, limits.metric)
    rows, finite = measured["rows"], Verdict.OK if measured["finite"] else Verdict.FAIL
    checks = [
        Check(
            "gate.data",
            data.verdict,
            str(data.verdict),
            "ok",
            evidence="what it was trained and measured on",
        ),
        Check("gate.finite", finite, rows=rows, evidence="every score is a number"),
    ]
    for name, told, required in (("trivial", "better", True), ("simple", "not worse", False)):
        if difference := measured["differences"].get(f"baseline.{name}"):
            told, full = f"{told} than the {name} baseline", f"gate.baseline.{name}"
            checks.append(
                compared(full, difference[metric], 0.0, rows, evidence=told, required=required)
            )
    if "champion" in measured["differences"]:
        difference = measured["differences"]["champion"][metric]
        margin = limits.margin * unit(
            measured["task"], measured["values"]["champion"][metric]["value"]
        )
        checks.append(compared("gate.champion", difference, -margin, rows, evidence="not worse"))
        checks.append(_better(difference, margin, rows, age, oldest))
    elif measured["champion"]:
        reason = measured.get("not_compared") or "it was not measured"
        told = f"not compared with the champion: {reason}; baselines and limits decide alone"
        checks.append(Check("gate.champion", Verdict.INCONCLUSIVE, required=False, evidence=told))
    checks += slice_rules.slices(measured, metric, limits)
    checks += feature_rules.judge(ablations, limits)
    checks += behavior_rules.judge(measured, curve or {}, limits)
    checks.append(serving_rules.judge(measured.get("serving_environment")))
    today = ablations[-1]["measured"] if ablations else str(date.today())
    checks += slice_rules.groups(measured, limits, today)
    if tuning:
        checks.append(tuned(tuning, limits))
    if "champion" in measured["differences"]:
        checks.append(_holdout(measured["holdout"], metric, measured["task"], limits))
    facts = {
        "metric": metric,
        "value": measured["values"]["candidate"][metric]["value"],
        "champion value": measured["values"].get("champion", {}).get(metric, {}).get("value"),
        "id": model_id,
        "model": measured["model"],  # its digest: what promote compares bytes with
        "champion": measured["champion"],
        "champion_release": release,
        "evaluated on": ", ".join(measured["periods"]["evaluation"]),
        "trained on": ", ".join(measured["periods"]["train"]),
        "rows": rows,
        "max_age_periods": oldest,
        "max_age_because": told_age,
        **_values(measured),
    }
    return Report(_title(facts), [*data.drift, *data.warnings, *checks], facts)


def _values(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate's value of each metric; of the team's own ones, which no check shows, with the interval."""
    values = {}
    further = measured.get("further", [])
    for name, estimate in measured["values"]["candidate"].items():
        values[name] = estimate["value"]
        if name in further:
            low, high = estimate["interval"]
            values[name] = f"{number(estimate['value'])} [{number(low)}, {number(high)}]"
    return values


def _metric(measured: Mapping[str, Any], name: str) -> str:
    further = measured.get("further", [])
    known = [metric for metric in measured["values"]["candidate"] if metric not in further]
    name = MAIN[measured["task"]] if name == "auto" else name
    expect(name, known, f"gate.metric {name!r} was not measured.")
    return name


def _title(facts: Mapping[str, Any]) -> str:
    against = "the baselines (there is no champion yet)"
    if facts["champion"]:
        against = f"champion {facts['champion_release'] or ''} ({facts['champion'][:8]})"
    where = f"evaluated on {facts['evaluated on']}, {facts['rows']:,} rows"
    candidate = f"candidate {facts['id'][:8]}".rstrip()
    return f"gate  {candidate} against {against}, {where}"


def _better(
    difference: Mapping[str, Any], margin: float, rows: int, age: int, most: int | None
) -> Check:
    """Better by more than a hair: gains the margin, and surely half of it. An old champion need not lose.

    Its age counts from the periods that it was evaluated on, so at `most` its data are one period older than allowed.
    """
    value, sure, old = difference["value"], interval(difference), most is not None and age >= most
    verdict = Verdict.INCONCLUSIVE
    if sure and ((sure[0] >= margin / 2 and value >= margin) or (old and sure[0] >= -margin)):
        verdict = Verdict.OK
    elif sure and sure[1] < (-margin if old else margin):
        verdict = Verdict.FAIL
    told = (
        f", or not worse and the champion {most} periods old (it is {age})"
        if most is not None
        else ""
    )
    evidence = f"better{told}"
    return Check("gate.improvement", verdict, value, margin, sure, rows, evidence=evidence)


def _holdout(held: Mapping[str, Any], metric: str, task: str, limits: GateSettings) -> Check:
    """What poison or forgetting does to the rows that the loop never feeds; where data drift, they drift away too."""
    more: dict[str, Any] = {"required": False, "effect": Effect.WARN}
    if not held["rows"]:
        return Check("gate.holdout", Verdict.INCONCLUSIVE, rows=0, **more)
    margin = limits.holdout_margin * unit(task, held["values"]["champion"][metric]["value"])
    more |= {"min_rows": limits.slice_min_rows, "evidence": "on rows that no training ever saw"}
    difference = held["differences"]["champion"][metric]
    return compared("gate.holdout", difference, -margin, held["rows"], **more)


def tuned(tuning: Mapping[str, Any], limits: GateSettings) -> Check:
    """Whether the team's values of what may be tuned are within tolerance of the best that tune found."""
    effect = Effect.BLOCK if limits.tune_blocking else Effect.WARN
    more: dict[str, Any] = {"required": False, "effect": effect}
    if not tuning["trials"]:
        told = "nothing was tried: no SEARCH in model.py, or no trials"
        return Check("gate.tuning", Verdict.INCONCLUSIVE, evidence=told, **more)
    own, best = (tuning["trials"][place]["values"] for place in (0, tuning["best"]))
    told = ", ".join(
        f"{name}={value}, not {own[name]}" for name, value in best.items() if value != own[name]
    )
    told = f"best of {len(tuning['trials'])}: {told or 'the values in use'}"
    margin, least = limits.tune_tolerance * tuning["unit"], limits.slice_min_rows
    more |= {"min_rows": least, "evidence": told}
    return compared("gate.tuning", tuning["difference"], -margin, tuning["rows"], **more)


def decide(project: Project) -> Report:
    """The verdict on models/candidate, computed afresh from the measurements in reports/ and the parameters.

    checks.py of the team may add checks: `checks(measured) -> list[Check]`.
    """
    measured = read_json(project.root / METRICS)
    if "conduct" in measured:  # until 0.3; its checks would be left out
        raise ProjectError(
            f"{METRICS} was written by an older mlgates.", "Measure again: uv run dvc repro"
        )
    data = Report.from_dict(read_json(project.root / VALIDATION))
    now = project.cycle()
    limits = project.settings().gate
    more = (
        _ablations(project, measured, limits),
        read_json(project.root / TUNING),
        read_json(project.root / STALENESS),
    )
    model_id = dvc_lock.candidate_id(project)
    report = gate(measured, data, limits, now["age"], now["release"], model_id, *more)
    try:
        report.add(*project.module("checks").checks(measured))
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(
            f"checks.py: checks() failed: {type(error).__name__}: {error}"
        ) from error
    report.add(model_card.complete(model_card.drawn(project, report)))
    return report


def _ablations(
    project: Project, measured: Mapping[str, Any], limits: GateSettings
) -> list[dict[str, Any]]:
    """The ablation report of the evaluated period, after as many earlier ones as can matter."""
    last = read_json(project.root / FEATURES / f"{measured['periods']['evaluation'][-1]}.json")
    earlier = last["before"][max(0, len(last["before"]) - limits.feature_periods + 1) :]
    return [*(read_json(project.root / FEATURES / f"{period}.json") for period in earlier), last]


def write(project: Project, report: Report) -> None:
    """Write reports/gate.json and its page, the model card and the bill of materials."""
    write_json(project.root / GATE, report.to_dict())
    model_card.write(project, report)
    pictures = []
    for folder in (project.root / PICTURES, project.root / REPORTS):
        pictures += sorted(folder.glob("*.svg"))
    write_text(project.root / GATE_PAGE, page(report, pictures))


def sentence(report: Report) -> str:
    """What follows from the verdict."""
    if report.verdict is Verdict.OK:
        return "It may be promoted: uv run mlops promote"
    if report.verdict is Verdict.FAIL:
        return "Vetoed. Nothing is promoted."
    return "Not shown to be good enough. Nothing is promoted."
