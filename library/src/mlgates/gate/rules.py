"""gate: from measurements and limits to a verdict.

`gate` is a pure function. The stage measures nothing, so a new limit makes DVC run this stage only.
It imports nothing heavy, so that this is quick.
"""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from mlgates import dvc_lock
from mlgates.errors import ProjectError
from mlgates.evaluation.metrics import MAIN, margin_unit
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


@dataclass(frozen=True)
class Context:
    """What the gate takes into account besides the measurements of one evaluation.

    `age` is how many periods lie between the champion's data and the newest ones, `release` the
    champion's name, `model_id` the candidate's id. `ablations` are the ablation reports, oldest
    period first. `tuning` is the report of tune, `curve` the staleness curve.
    """

    age: int = 0
    release: str | None = None
    model_id: str = ""
    ablations: Sequence[Mapping[str, Any]] = ()
    tuning: Mapping[str, Any] | None = None
    curve: Mapping[str, Any] | None = None


def gate(
    measured: Mapping[str, Any],
    data: Report,
    limits: GateSettings,
    context: Context | None = None,
) -> Report:
    """The verdict on a candidate.

    `measured` is what evaluate wrote, `data` the report of validate, `limits` the section `gate` of
    the parameters. Raises: ProjectError if a parameter names an unknown metric, waiver or kind of
    check.
    """
    context = context or Context()
    metric = _metric(measured, limits.metric)
    max_age, max_age_reason = _max_age(context.curve, limits)
    is_compared = "champion" in measured["differences"]

    checks = _sanity_checks(measured, data)
    checks += _baseline_checks(measured, metric)
    if is_compared:
        checks += _champion_checks(measured, metric, limits, context.age, max_age)
    elif measured["champion"]:
        checks.append(_champion_not_compared(measured))
    checks += slice_rules.slices(measured, metric, limits)
    checks += feature_rules.feature_checks(context.ablations, limits)
    checks += behavior_rules.judge(measured, context.curve or {}, limits)
    checks.append(serving_rules.serving_check(measured.get("serving_environment")))
    checks += slice_rules.groups(measured, limits, _today(context))
    if context.tuning:
        checks.append(tuning_check(context.tuning, limits))
    if is_compared:
        checks.append(_holdout(measured, metric, limits))

    facts = _facts(measured, metric, context)
    facts["max_age_periods"] = max_age
    facts["max_age_because"] = max_age_reason
    facts.update(_values(measured))
    return Report(_title(facts), [*data.drift, *data.warnings, *checks], facts)


def _metric(measured: Mapping[str, Any], name: str) -> str:
    """The metric that decides, given the parameter `gate.metric`.

    The team's own metrics are shown only, so none of them can decide.
    Raises: ProjectError if that metric was not measured.
    """
    if name == "auto":
        name = MAIN[measured["task"]]
    further = measured.get("further", [])
    names = [metric for metric in measured["values"]["candidate"] if metric not in further]
    expect(name, names, f"gate.metric {name!r} was not measured.")
    return name


def _max_age(curve: Mapping[str, Any] | None, limits: GateSettings) -> tuple[int | None, str]:
    """How many periods old the data of a model may be (None if unknown), and the reason."""
    if not curve:
        return None, "no curve was measured"
    return behavior_rules.max_age(curve, limits.staleness_margin)


def _today(context: Context) -> str:
    """The day on which waivers are compared, in ISO form.

    It is the day of the newest ablation report, so that a verdict that is computed again is the
    same on any later day.
    """
    if context.ablations:
        return str(context.ablations[-1]["measured"])
    return str(date.today())


def _sanity_checks(measured: Mapping[str, Any], data: Report) -> list[Check]:
    """`gate.data` and `gate.finite`: the data are sound, and every score is a number."""
    finite = Verdict.OK if measured["finite"] else Verdict.FAIL
    return [
        Check(
            "gate.data",
            data.verdict,
            str(data.verdict),
            "ok",
            evidence="what it was trained and measured on",
        ),
        Check("gate.finite", finite, rows=measured["rows"], evidence="every score is a number"),
    ]


def _baseline_checks(measured: Mapping[str, Any], metric: str) -> list[Check]:
    """`gate.baseline.*`: better than the trivial baseline, and not worse than the simple one.

    The second one is not required, because a linear model may really be as good: then the
    difference stays inconclusive.
    """
    checks = []
    for name, claim, required in (("trivial", "better", True), ("simple", "not worse", False)):
        differences = measured["differences"].get(f"baseline.{name}")
        if differences:
            check = compared(
                f"gate.baseline.{name}",
                differences[metric],
                0.0,
                measured["rows"],
                evidence=f"{claim} than the {name} baseline",
                required=required,
            )
            checks.append(check)
    return checks


def _champion_checks(
    measured: Mapping[str, Any], metric: str, limits: GateSettings, age: int, max_age: int | None
) -> list[Check]:
    """`gate.champion`, which asks that the candidate is not worse, and `gate.improvement`."""
    rows = measured["rows"]
    difference = measured["differences"]["champion"][metric]
    value = measured["values"]["champion"][metric]["value"]
    margin = limits.margin * margin_unit(measured["task"], value)
    return [
        compared("gate.champion", difference, -margin, rows, evidence="not worse"),
        _improvement(difference, margin, rows, age, max_age),
    ]


def _champion_not_compared(measured: Mapping[str, Any]) -> Check:
    """`gate.champion` where there is a champion that could not score these rows.

    It is not required: otherwise no candidate could ever replace that champion.
    """
    reason = measured.get("not_compared") or "it was not measured"
    evidence = f"not compared with the champion: {reason}; baselines and limits decide alone"
    return Check("gate.champion", Verdict.INCONCLUSIVE, required=False, evidence=evidence)


def _improvement(
    difference: Mapping[str, Any], margin: float, rows: int, age: int, max_age: int | None
) -> Check:
    """`gate.improvement`: the candidate gains the margin, and half of it with 95 % confidence.

    Against an old champion it is enough that the candidate is not worse. The champion's age counts
    from the periods that it was evaluated on. So when `age` reaches `max_age`, its training data
    are one period older than allowed.
    """
    value = difference["value"]
    bounds = interval(difference)
    min_low, min_value, min_high = margin / 2, margin, margin
    if max_age is not None and age >= max_age:
        min_low, min_value, min_high = -margin, -math.inf, -margin

    verdict = Verdict.INCONCLUSIVE
    if bounds:
        low, high = bounds
        if low >= min_low and value >= min_value:
            verdict = Verdict.OK
        elif high < min_high:
            verdict = Verdict.FAIL

    evidence = "better"
    if max_age is not None:
        evidence += f", or not worse and the champion {max_age} periods old (it is {age})"
    return Check("gate.improvement", verdict, value, margin, bounds, rows, evidence=evidence)


def _holdout(measured: Mapping[str, Any], metric: str, limits: GateSettings) -> Check:
    """`gate.holdout`: not worse than the champion on rows that no training ever saw.

    It shows what poisoning or forgetting does to rows that the training loop never uses. It only
    warns, because where the data drift these rows become old, and a good candidate may lose on
    them.
    """
    holdout = measured["holdout"]
    if not holdout["rows"]:
        return Check(
            "gate.holdout", Verdict.INCONCLUSIVE, rows=0, required=False, effect=Effect.WARN
        )
    value = holdout["values"]["champion"][metric]["value"]
    margin = limits.holdout_margin * margin_unit(measured["task"], value)
    return compared(
        "gate.holdout",
        holdout["differences"]["champion"][metric],
        -margin,
        holdout["rows"],
        min_rows=limits.slice_min_rows,
        evidence="on rows that no training ever saw",
        required=False,
        effect=Effect.WARN,
    )


def tuning_check(tuning: Mapping[str, Any], limits: GateSettings) -> Check:
    """`gate.tuning`: the team's parameters are within tolerance of the best that tune found."""
    effect = Effect.BLOCK if limits.tune_blocking else Effect.WARN
    trials = tuning["trials"]
    if not trials:
        return Check(
            "gate.tuning",
            Verdict.INCONCLUSIVE,
            evidence="nothing was tried: no SEARCH in model.py, or no trials",
            required=False,
            effect=effect,
        )

    in_use = trials[0]["values"]  # the first trial is always of the values in use
    best = trials[tuning["best"]]["values"]
    changes = []
    for name, value in best.items():
        if value != in_use[name]:
            changes.append(f"{name}={value}, not {in_use[name]}")
    description = ", ".join(changes) or "the values in use"
    return compared(
        "gate.tuning",
        tuning["difference"],
        -limits.tune_tolerance * tuning["unit"],
        tuning["rows"],
        min_rows=limits.slice_min_rows,
        evidence=f"best of {len(trials)}: {description}",
        required=False,
        effect=effect,
    )


def _facts(measured: Mapping[str, Any], metric: str, context: Context) -> dict[str, Any]:
    """What the report says about candidate, champion and rows, in the order of its page."""
    values = measured["values"]
    champion_value = None
    if "champion" in values:
        champion_value = values["champion"].get(metric, {}).get("value")
    return {
        "metric": metric,
        "value": values["candidate"][metric]["value"],
        "champion value": champion_value,
        "id": context.model_id,
        "model": measured["model"],  # its digest: what promote compares bytes with
        "champion": measured["champion"],
        "champion_release": context.release,
        "evaluated on": ", ".join(measured["periods"]["evaluation"]),
        "trained on": ", ".join(measured["periods"]["train"]),
        "rows": measured["rows"],
    }


def _values(measured: Mapping[str, Any]) -> dict[str, Any]:
    """The candidate's value of each metric.

    The team's own metrics have the interval too, because no check shows it.
    """
    values = {}
    further = measured.get("further", [])
    for name, estimate in measured["values"]["candidate"].items():
        values[name] = estimate["value"]
        if name in further:
            low, high = estimate["interval"]
            values[name] = f"{number(estimate['value'])} [{number(low)}, {number(high)}]"
    return values


def _title(facts: Mapping[str, Any]) -> str:
    against = "the baselines (there is no champion yet)"
    if facts["champion"]:
        against = f"champion {facts['champion_release'] or ''} ({facts['champion'][:8]})"
    where = f"evaluated on {facts['evaluated on']}, {facts['rows']:,} rows"
    candidate = f"candidate {facts['id'][:8]}".rstrip()
    return f"gate  {candidate} against {against}, {where}"


def decide(project: Project) -> Report:
    """The verdict on models/candidate, computed from the measurements in reports/ and parameters.

    checks.py of the team may add checks: `checks(measured) -> list[Check]`.
    Raises: ProjectError if the measurements are too old, or if the team's checks fail to run.
    """
    measured = read_json(project.root / METRICS)
    # Until 0.3 `behavior` was called so. Its checks would be left out without a word.
    if "conduct" in measured:
        raise ProjectError(
            f"{METRICS} was written by an older mlgates.", "Measure again: uv run dvc repro"
        )
    data = Report.from_dict(read_json(project.root / VALIDATION))
    limits = project.settings().gate
    cycle = project.cycle()
    context = Context(
        age=cycle["age"],
        release=cycle["release"],
        model_id=dvc_lock.candidate_id(project),
        ablations=_ablations(project, measured, limits),
        tuning=read_json(project.root / TUNING),
        curve=read_json(project.root / STALENESS),
    )
    report = gate(measured, data, limits, context)
    _add_team_checks(project, report, measured)
    report.add(model_card.complete(model_card.card_of_candidate(project, report)))
    return report


def _add_team_checks(project: Project, report: Report, measured: Mapping[str, Any]) -> None:
    """Add what the team's checks.py returns. Raises: ProjectError if it fails."""
    try:
        report.add(*project.module("checks").checks(measured))
    except ProjectError:
        raise
    except Exception as error:
        raise ProjectError(
            f"checks.py: checks() failed: {type(error).__name__}: {error}"
        ) from error


def _ablations(
    project: Project, measured: Mapping[str, Any], limits: GateSettings
) -> list[dict[str, Any]]:
    """The ablation report of the evaluated period, after as many earlier ones as can matter."""
    folder = project.root / FEATURES
    newest = read_json(folder / f"{measured['periods']['evaluation'][-1]}.json")
    earlier = newest["before"]
    first = max(0, len(earlier) - limits.feature_periods + 1)
    reports = [read_json(folder / f"{period}.json") for period in earlier[first:]]
    return [*reports, newest]


def write(project: Project, report: Report) -> None:
    """Write reports/gate.json and its page, the model card and the bill of materials."""
    write_json(project.root / GATE, report.to_dict())
    model_card.write(project, report)
    pictures = []
    for folder in (project.root / PICTURES, project.root / REPORTS):
        pictures += sorted(folder.glob("*.svg"))
    write_text(project.root / GATE_PAGE, page(report, pictures))


def without_names(report: Mapping[str, Any]) -> dict[str, Any]:
    """A report as it is stored, without what names the candidate.

    Where train ran again and gave the same bytes, the model has a new id, and DVC does not run gate
    again.
    """
    content: dict[str, Any] = json.loads(json.dumps(report, default=str))
    del content["title"]
    content["facts"].pop("id", None)
    return content


def sentence(report: Report) -> str:
    """What follows from the verdict."""
    if report.verdict is Verdict.OK:
        return "It may be promoted: uv run mlops promote"
    if report.verdict is Verdict.FAIL:
        return "A blocking check failed. Nothing is promoted."
    return "The measurements do not show that it is good enough. Nothing is promoted."
