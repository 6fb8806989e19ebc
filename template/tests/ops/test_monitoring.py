"""The monitor: quiet on healthy rows, and red by name for each planted fault. Columns are chosen from the contract."""

import importlib
import json
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

PACKAGE = next((Path.cwd() / "src").glob("*/ops")).parent.name


def ops(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.ops.{name}")


project, lookups, scoring, metrics, log = map(ops, ["project", "lookups", "scoring", "pipeline.metrics", "serving.log"])
plan, cells = ops("features").plan, ops("serving.tables").cells
monitor, watch = ops("monitoring.monitor").monitor, ops("monitoring.monitor").watch
alarm, record = ops("monitoring.alarm").alarm, ops("monitoring.outcomes").record
healthy_rows, synthetic_lookup = ops("prove").healthy_rows, ops("prove.rows").synthetic_lookup
Check, Report, Verdict = ops("verdict").Check, ops("verdict").Report, ops("verdict").Verdict
Column = ops("contract").Column
project.quiet_tools()

TEAM = project.yours()
CONTRACT = TEAM.contract
OUTCOME = CONTRACT.outcome.name
LIMITS = project.params(project.find_root())["monitor"]
N = 5_000
CYCLE = 'until: "{until}"\nchampion: null\nrelease: null\nage: 0\n'
FIRST = Check("monitor.rows", Verdict.OK, 0.5, 0.3)
Rows = pd.DataFrame


@pytest.fixture(scope="module")
def reference() -> Rows:
    return healthy_rows(project.find_root(), TEAM)


@pytest.fixture(scope="module")
def scorer(reference: Rows) -> scoring.Scorer:
    settings = project.params(project.find_root())
    arrays, target = CONTRACT.arrays(reference), CONTRACT.target(reference)
    return scoring.fit(arrays, target, plan(TEAM.features, CONTRACT), TEAM.model, CONTRACT, settings)


def scored(scorer: scoring.Scorer, rows: Rows) -> np.ndarray:
    return scorer.score(scorer.matrix(CONTRACT.arrays(rows)))


@pytest.fixture(scope="module")
def measured(scorer: scoring.Scorer, reference: Rows) -> dict[str, float]:
    one, scores, target = np.ones((1, len(reference))), scored(scorer, reference), CONTRACT.target(reference)
    return {name: float(make(target, scores)(one)[0]) for name, make in metrics.named(CONTRACT.task).items()}


def served(scorer: scoring.Scorer, rows: Rows, inside: Rows | None = None) -> Rows:
    """What the service logs for `rows`; `inside` is what its features are made of, if the path between is at fault."""
    matrix = scorer.matrix(CONTRACT.arrays(rows if inside is None else inside))
    scores = scorer.score(matrix)
    kept = rows[list(CONTRACT.feature_columns)].reset_index(drop=True)
    own = {log.ID: [f"id{place}" for place in range(len(rows))], "at": time.time() + np.arange(len(rows)) / 1000}
    same = dict.fromkeys(["release", "fingerprint", "digest"], "f" * 64)
    features = {f"feature__{name}": matrix[:, place] for place, name in enumerate(scorer.plan.names)}
    ages = {f"{look.name}__age": 0.0 for look in CONTRACT.lookups}
    texts = [json.dumps(row) for row in scores.tolist()] if scores.ndim > 1 else scores
    return kept.assign(**own, **same, **features, **ages, score=texts, decision=scorer.decide(scores))


def outcomes(rows: Rows) -> Rows:
    return rows[[*log.identity(CONTRACT), OUTCOME]].assign(arrived=time.time() + 86_400)


def resample(reference: Rows, seed: int, size: int = N) -> Rows:
    drawn = reference.sample(size, replace=len(reference) < size, random_state=seed)
    drawn = drawn.drop_duplicates(list(CONTRACT.key)) if CONTRACT.key else drawn
    return drawn.assign(**{log.ID: [f"id{place}" for place in range(len(drawn))]}).reset_index(drop=True)


Watched = Callable[..., Report]


@pytest.fixture(scope="module")
def watched(scorer: scoring.Scorer, reference: Rows, measured: dict[str, float]) -> Watched:
    def run(
        logged: Rows,
        known: Rows | None = None,
        age: int = 1,
        tables: dict[str, Rows] | None = None,
        oldest: int | None = None,
    ) -> Report:
        return watch(CONTRACT, scorer, reference, logged, known, LIMITS, measured, age, tables, oldest)

    return run


def pick(scorer: scoring.Scorer, wanted: Callable[[Column], bool]) -> Column:
    """A column that the model reads, with the widest bounds."""
    found = [CONTRACT.columns[name] for name in scorer.plan.columns if wanted(CONTRACT.columns[name])]
    if not found:
        pytest.skip("the contract has no such column")
    return max(found, key=lambda column: (column.high or 0) - (column.low or 0))


def number(scorer: scoring.Scorer) -> Column:
    return pick(scorer, lambda column: column.kind in ("int", "float") and column.source == "request")


def red(report: Report) -> set[str]:
    return {check.name for check in [*report.checks, *report.drift] if check.verdict is Verdict.FAIL}


@pytest.mark.parametrize("seed", range(4))
def test_healthy_rows_raise_no_alarm(watched: Watched, scorer: scoring.Scorer, reference: Rows, seed: int) -> None:
    rows = resample(reference, seed)
    report = watched(served(scorer, rows), outcomes(rows))
    assert red(report) == set() and report.verdict is Verdict.OK


def test_a_unit_changed_upstream_is_drift_and_no_skew(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    rows, column = resample(reference, 0), number(scorer).name
    report = watched(served(scorer, rows.assign(**{column: rows[column] * 1609})))
    assert report[f"monitor.drift.{column}"].verdict is Verdict.FAIL
    if CONTRACT.columns[column].high is not None:
        assert report["monitor.invariants"].verdict is Verdict.FAIL and column in report["monitor.invariants"].evidence
    assert not [name for name in red(report) if name.startswith("skew.")]


def test_a_unit_changed_in_the_serving_path_is_skew_and_no_drift(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    rows, column = resample(reference, 0), number(scorer).name
    report = watched(served(scorer, rows, inside=rows.assign(**{column: rows[column] * 1609})))
    touched = {f"skew.{name}" for name in scorer.plan.names if column in scorer.plan.ancestors(name)}
    assert touched & red(report) and {name for name in red(report) if name.startswith("skew.")} <= touched
    assert not [name for name in red(report) if name.startswith(("monitor.drift.", "monitor.inv"))]


def test_a_look_up_that_is_served_otherwise_than_trained_is_skew(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    if not CONTRACT.lookups:
        pytest.skip("the contract has no look-up")
    rows = resample(reference, 0, 2_000)
    tables = {look.name: synthetic_lookup(CONTRACT, look, rows) for look in CONTRACT.lookups}
    rows = lookups.join(
        rows.drop(columns=[n for look in CONTRACT.lookups for n in CONTRACT.from_source(look.name)]), CONTRACT, tables
    )
    column = pick(scorer, lambda c: c.is_number and c.source in tables)
    healthy = watched(served(scorer, rows), tables=tables)
    assert healthy[f"skew.{column.source}.{column.name}"].verdict is Verdict.OK
    faulty = watched(served(scorer, rows.assign(**{column.name: rows[column.name] * 1.8 + 32})), tables=tables)
    assert {name for name in red(faulty) if name.startswith("skew.")} == {f"skew.{column.source}.{column.name}"}
    nothing = watched(served(scorer, rows))[f"skew.{column.source}"]
    assert nothing.verdict is Verdict.INSUFFICIENT and not nothing.required


def test_values_that_vanish_are_seen(watched: Watched, scorer: scoring.Scorer, reference: Rows) -> None:
    rows = resample(reference, 0)
    column = pick(scorer, lambda c: c.kind in ("float", "category", "text") and (c.nullable or c.source != "request"))
    rows.loc[rows.index % 3 == 0, column.name] = np.nan if column.is_number else None
    assert f"monitor.missing.{column.name}" in red(watched(served(scorer, rows)))


def test_a_word_that_the_contract_does_not_know_is_seen_at_once(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    rows, column = resample(reference, 0, 20), pick(scorer, lambda c: c.kind == "category")
    rows.loc[3, column.name] = "no such word"
    check = watched(served(scorer, rows))["monitor.invariants"]
    assert check.verdict is Verdict.FAIL and f"data.category {column.name} (1)" in check.evidence


def test_a_score_or_a_decision_that_is_not_the_models_is_seen(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    logged = served(scorer, resample(reference, 0, 50))
    wrong = logged.assign(score=logged["score"].to_numpy()[::-1])
    assert "skew.score" in red(watched(wrong))
    other = {"binary": CONTRACT.classes[::-1], "multiclass": CONTRACT.classes}.get(CONTRACT.task, [-1.0, -2.0])
    decision: Any = CONTRACT.outcome.kind != "bool" and other[0]
    rows = logged.assign(decision=~logged["decision"].astype(bool) if decision is False else decision)
    assert "decision" in watched(rows)["monitor.invariants"].evidence


def test_too_few_rows_are_insufficient_and_nothing_else_is_hidden(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    logged = served(scorer, resample(reference, 0, 100))
    report = watched(logged)
    assert report["monitor.rows"].verdict is Verdict.INSUFFICIENT and report.exit_code == 4
    name = f"feature__{scorer.plan.names[0]}"
    assert watched(logged.assign(**{name: logged[name] + 1e-9})).exit_code == 3
    assert watched(logged.iloc[:0]).exit_code == 4


def test_columns_that_move_together_fail(watched: Watched, scorer: scoring.Scorer, reference: Rows) -> None:
    rows = resample(reference, 0)
    stuck = {name: rows[name].value_counts().index[-1] for name in scorer.plan.columns}
    report = watched(served(scorer, rows.assign(**stuck)))
    assert {"monitor.drifted_share", "monitor.predictions"} <= red(report)


def test_a_champion_of_old_data_is_stale(watched: Watched, scorer: scoring.Scorer, reference: Rows) -> None:
    logged = served(scorer, resample(reference, 0, 50))
    assert "monitor.staleness" in red(watched(logged, age=4, oldest=3))
    assert watched(logged, age=3, oldest=3)["monitor.staleness"].verdict is Verdict.OK
    unknown = watched(logged, age=40)["monitor.staleness"]
    assert unknown.verdict is Verdict.INSUFFICIENT and not unknown.required


def test_quality_is_judged_as_soon_as_outcomes_are_known(
    watched: Watched, scorer: scoring.Scorer, reference: Rows
) -> None:
    rows = resample(reference, 0)
    logged, known = served(scorer, rows), outcomes(rows)
    silent = watched(logged.tail(100))
    assert not silent["monitor.quality"].required and silent["monitor.outcomes"].verdict is Verdict.INSUFFICIENT
    few = watched(logged.tail(100), known)
    assert few["monitor.quality"].verdict is Verdict.INSUFFICIENT and few["monitor.outcomes"].value == 1.0
    shuffled = known.assign(**{OUTCOME: known[OUTCOME].sample(frac=1, random_state=0).to_numpy()})
    assert "monitor.quality" in red(watched(logged, shuffled.sample(frac=1, random_state=1)))


def installed(root: Path, scorer: scoring.Scorer, reference: Rows, measured: dict[str, float]) -> str:
    """A served model in an otherwise empty project; returns its fingerprint."""
    folder = root / "var/models" / ("f" * 64)
    scoring.save(scorer, folder, CONTRACT)
    reference.to_parquet(folder / scoring.REFERENCE, index=False)
    facts = {"trained on": "1", "model": project.digest(folder)} | measured
    champion = {
        "release": "v1.0.0",
        "fingerprint": folder.name,
        "digest": facts["model"],
        "report": Report("gate", [Check("gate.finite", Verdict.OK)], facts).to_dict(),
    }
    project.write_json(root / "var/champion.json", champion)
    (root / "params.yaml").write_text("{}")
    (root / "cycle.yaml").write_text(CYCLE.format(until=2))
    return folder.name


def written(root: Path, logged: Rows, scorer: scoring.Scorer) -> None:
    arrays = CONTRACT.arrays(logged)
    rows = {n: cells(CONTRACT.columns[n], arrays[n]) if n in arrays else logged[n].tolist() for n in logged}
    writer = log.PredictionLog(root / log.FOLDER / "1.db")
    writer.append(rows, log.types(CONTRACT, scorer.plan.names))
    writer.close()


@pytest.fixture
def root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scorer: scoring.Scorer, reference: Rows, measured: dict[str, float]
) -> Path:
    installed(tmp_path, scorer, reference, measured)
    monkeypatch.setattr(TEAM.data, "periods", lambda: ["1", "2", "3"])
    return tmp_path


def test_the_log_of_the_service_gives_one_page_that_loads_nothing(
    root: Path, scorer: scoring.Scorer, reference: Rows
) -> None:
    with pytest.raises(project.ProjectError, match="was ever predicted"):
        _outcomes_file(root, resample(reference, 0, 10), ".csv")
    assert monitor(root).exit_code == 4
    rows = resample(reference, 0, 1_000)
    logged = served(scorer, rows)
    written(root, pd.concat([logged, logged.assign(fingerprint="another", **{log.ID: logged[log.ID] + "x"})]), scorer)
    report = monitor(root)
    assert red(report) == set() and report.facts["predictions"] == report.facts["by other models"] == len(rows)
    stored = project.read_json(root / "var/monitor/latest.json")
    assert Report.from_dict(stored).verdict is report.verdict
    text = (root / "var/monitor/latest.html").read_text()
    assert "monitor.drifted_share" in text and "srcdoc=" in text and "Content-Security-Policy" in text
    assert not re.findall(
        r"<(?:script|img|link|iframe)[^>]{0,200}(?:src|href)=[^>]{0,9}http", text.replace("&quot;", '"')
    )
    assert len(list((root / "var/monitor").glob("2*.json"))) == 2


def test_a_changed_model_is_not_watched(root: Path) -> None:
    with (root / "var/models" / ("f" * 64) / "model.pkl").open("ab") as file:
        file.write(b"0")
    with pytest.raises(project.ProjectError, match=r"serving\.digest"):
        monitor(root)
    (root / "var/champion.json").unlink()
    with pytest.raises(project.ProjectError, match="No model is in service"):
        monitor(root)


def _outcomes_file(root: Path, rows: Rows, suffix: str) -> str:
    path = root / f"outcomes{suffix}"
    told = rows[[*log.identity(CONTRACT), OUTCOME]]
    told.to_csv(path, index=False) if suffix == ".csv" else told.to_parquet(path, index=False)
    return record(root, path)


def test_outcomes_are_taken_once_and_only_for_what_was_predicted(
    root: Path, scorer: scoring.Scorer, reference: Rows
) -> None:
    rows = resample(reference, 0, 300)
    written(root, served(scorer, rows.head(200)), scorer)
    told = len(rows.head(200))
    assert _outcomes_file(root, rows, ".csv").startswith(
        f"outcomes: {told} recorded, 0 known already, {len(rows) - told} refused"
    )
    before = (root / log.OUTCOMES).read_bytes()
    assert _outcomes_file(root, rows, ".parquet").startswith(f"outcomes: 0 recorded, {told} known already")
    assert (root / log.OUTCOMES).read_bytes() == before
    for rule, bad in _wrong(rows).items():
        with pytest.raises(project.ProjectError, match=rule):
            _outcomes_file(root, bad, ".csv")
    assert (root / log.OUTCOMES).read_bytes() == before
    stored = log.outcomes(root)
    assert len(stored) == told and set(CONTRACT.target(stored)) <= set(CONTRACT.target(rows))
    (root / log.OUTCOMES).write_bytes(b"no database" * 100)
    for use in (log.outcomes, lambda root: log.record(root, stored)):
        with pytest.raises(project.ProjectError, match=r"outcomes\.db cannot be read or written"):
            use(root)


def _wrong(rows: Rows) -> dict[str, Rows]:
    values = rows[OUTCOME].astype(object)
    twice = pd.concat(
        [rows, rows.tail(1).assign(**{OUTCOME: rows.loc[rows[OUTCOME] != rows[OUTCOME].iloc[-1], OUTCOME].iloc[0]})]
    )
    word = "data.category" if CONTRACT.outcome.kind == "category" else "data.type"
    return {
        word: rows.assign(**{OUTCOME: values.where(rows.index != 3, "nonsense")}),
        "data.missing": rows.assign(**{OUTCOME: values.where(rows.index != 3, None)}),
        "data.key": twice,
    }


GH = """#!/usr/bin/env python3
# A stand-in for GitHub's command line: keeps issues in a file and logs each call. No network.
import json, os, sys
state = os.environ["GH_STATE"]
issues = json.load(open(state)) if os.path.exists(state) else []
method, path = sys.argv[3], sys.argv[4]
body = json.loads(sys.stdin.read()) if "--input" in sys.argv else {}
print(method, path.split("?")[0], sorted(body), file=open(state + ".log", "a"))
answer = None
if method == "GET":
    answer = issues
elif path.endswith("/issues"):
    answer = {"number": len(issues) + 1, "state": "open"} | body
    issues.append(answer)
elif method == "PATCH":
    answer = issues[int(path.rsplit("/", 1)[1]) - 1]
    answer.update(body)
json.dump(issues, open(state, "w"))
print(json.dumps(answer) if answer is not None else "")
"""


def test_an_alarm_is_one_issue_and_one_training_for_each_period(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gh = tmp_path / "bin/gh"
    gh.parent.mkdir()
    gh.write_text(GH)
    gh.chmod(gh.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{gh.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("GITHUB_REPOSITORY", "team/project")
    monkeypatch.setenv("GH_STATE", str(tmp_path / "state"))

    def calls(verdict: Verdict, until: str) -> list[str]:
        (tmp_path / "state.log").unlink(missing_ok=True)
        (tmp_path / "cycle.yaml").write_text(CYCLE.format(until=until))
        checks = [replace(FIRST, verdict=verdict)]
        project.write_json(tmp_path / "var/monitor/latest.json", Report("monitor", checks).to_dict())
        assert alarm(tmp_path) == 0
        lines = (tmp_path / "state.log").read_text().splitlines() if (tmp_path / "state.log").exists() else []
        return [" ".join(line.split()[:2]).replace("repos/team/project/", "") for line in lines]

    train = ["PATCH issues/1", "POST actions/workflows/ct.yml/dispatches"]
    assert calls(Verdict.INSUFFICIENT, "1") == []
    assert calls(Verdict.OK, "1") == ["GET issues"]
    assert calls(Verdict.FAIL, "1") == ["GET issues", "POST issues", *train]
    assert calls(Verdict.FAIL, "1") == ["GET issues", "POST issues/1/comments"]
    assert calls(Verdict.FAIL, "2") == ["GET issues", "POST issues/1/comments", *train]
    assert calls(Verdict.OK, "2") == ["GET issues", "POST issues/1/comments", "PATCH issues/1"]
    assert calls(Verdict.FAIL, "2") == ["GET issues", "POST issues"]  # trained for this period already
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert calls(Verdict.FAIL, "3") == []
