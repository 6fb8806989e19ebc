"""The monitor: quiet on healthy rows, and red by name for each planted fault. Columns are chosen from the contract."""

import importlib
import json
import os
import re
import stat
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import numpy as np
import pandas as pd
import pytest
from pydantic import BaseModel, Field
from sklearn.ensemble import HistGradientBoostingClassifier

PACKAGE = next((Path.cwd() / "src").glob("*/ops")).parent.name


def ops(name: str) -> Any:
    return importlib.import_module(f"{PACKAGE}.ops.{name}")


project, lookups, scoring, metrics, log = map(ops, ["project", "lookups", "scoring", "pipeline.metrics", "serving.log"])
plan, cells = ops("features").plan, ops("serving.tables").cells
monitor, watch = ops("monitoring.monitor").monitor, ops("monitoring.monitor").watch
alarm, record = ops("monitoring.alarm").alarm, ops("monitoring.outcomes").record
healthy_rows, synthetic, synthetic_lookup = (
    ops("prove").healthy_rows,
    *(getattr(ops("prove.rows"), name) for name in ("synthetic", "synthetic_lookup")),
)
Check, Report, Verdict = ops("verdict").Check, ops("verdict").Report, ops("verdict").Verdict
Column, Contract, Lookup = ops("contract").Column, ops("contract").Contract, ops("contract").Lookup
estimate, lookup_table = ops("monitoring.quality").estimate, ops("monitoring.monitor").lookup_table
project.quiet_tools()

TEAM = project.yours()
CONTRACT = TEAM.contract
OUTCOME = CONTRACT.outcome.name
LIMITS = project.params(project.find_root())["monitor"]
N = 5_000
CYCLE = 'until: "{until}"\nchampion: null\nrelease: null\nage: 0\n'
FIRST = Check("monitor.rows", Verdict.OK, 0.5, 0.3)
Rows = pd.DataFrame


class Ask(BaseModel):
    shop: Literal["a", "b", "c"]
    size: Annotated[int, Field(ge=0, le=9)]
    weight: float | None
    asked: datetime


class Tariff(BaseModel):
    price: float | None


class Sold(BaseModel):
    sold: bool


LOOKUP = Lookup(Tariff, on="shop", at="asked", time="known", max_age="3d")


class World:
    """A contract, healthy rows, a model that was fitted on them, and what the gate measured of it."""

    def __init__(self, contract: Any, features: ModuleType, model: Any, reference: Rows) -> None:
        self.contract, self.reference = contract, reference
        settings, arrays = project.params(project.find_root()), contract.arrays(reference)
        self.target = contract.target(reference)
        self.scorer = scoring.fit(arrays, self.target, plan(features, contract), model, contract, settings)
        one, scores = np.ones((1, len(reference))), self.scorer.score(self.scorer.matrix(arrays))
        makers = metrics.named(contract.task).items()
        self.measured = {name: float(make(self.target, scores)(one)[0]) for name, make in makers}

    def served(self, rows: Rows, inside: Rows | None = None) -> Rows:
        """What the service logs for `rows`; `inside` is what its features are made of, if the path is at fault."""
        contract, scorer = self.contract, self.scorer
        matrix = scorer.matrix(contract.arrays(rows if inside is None else inside))
        scores = scorer.score(matrix)
        kept = rows[list(contract.feature_columns)].reset_index(drop=True)
        own = {log.ID: [f"id{place}" for place in range(len(rows))], "at": time.time() + np.arange(len(rows)) / 1000}
        same = dict.fromkeys(["release", "fingerprint", "digest"], "f" * 64)
        features = {f"feature__{name}": matrix[:, place] for place, name in enumerate(scorer.plan.names)}
        ages = {f"{look.name}__age": 0.0 for look in contract.lookups}
        texts = [json.dumps(row) for row in scores.tolist()] if scores.ndim > 1 else scores
        return kept.assign(**own, **same, **features, **ages, score=texts, decision=scorer.decide(scores))

    def resample(self, seed: int, size: int = N) -> Rows:
        key = list(self.contract.key)
        drawn = self.reference.sample(size, replace=len(self.reference) < size, random_state=seed)
        drawn = drawn.drop_duplicates(key) if key else drawn
        return drawn.assign(**{log.ID: [f"id{place}" for place in range(len(drawn))]}).reset_index(drop=True)

    def watched(
        self,
        logged: Rows,
        known: Rows | None = None,
        age: int = 1,
        tables: dict[str, Rows] | None = None,
        oldest: int | None = None,
    ) -> Report:
        return watch(
            self.contract, self.scorer, self.reference, logged, known, LIMITS, self.measured, age, tables, oldest
        )


@pytest.fixture(scope="module")
def world() -> World:
    """The project itself."""
    return World(CONTRACT, TEAM.features, TEAM.model, healthy_rows(project.find_root(), TEAM))


@pytest.fixture(scope="module")
def shop() -> World:
    """A contract that has everything which a project may lack."""
    contract, features, model = Contract(Ask, Sold, [LOOKUP]), ModuleType("features"), ModuleType("model")
    features.AS_IS = ["shop", "size", "weight", "price"]  # type: ignore[attr-defined]
    model.build = lambda params, categorical, seed: HistGradientBoostingClassifier(  # type: ignore[attr-defined]
        categorical_features=categorical, max_iter=20, random_state=seed
    )
    return World(contract, features, model, synthetic(contract, N))


def pick(wanted: Callable[[Column], bool], *worlds: World) -> tuple[World, Column]:
    """The first of some worlds whose model reads such a column, and of these columns that with the widest bounds."""
    for world in worlds:
        if found := [c for c in map(world.contract.columns.get, world.scorer.plan.columns) if c and wanted(c)]:
            return world, max(found, key=lambda column: (column.high or 0) - (column.low or 0))
    raise AssertionError("no world has such a column")


def is_number(column: Column) -> bool:
    return column.kind in ("int", "float") and column.source == "request"


def outcomes(rows: Rows) -> Rows:
    return rows[[*log.identity(CONTRACT), OUTCOME]].assign(arrived=time.time() + 86_400)


def red(report: Report) -> set[str]:
    return {check.name for check in [*report.checks, *report.drift] if check.verdict is Verdict.FAIL}


@pytest.mark.parametrize("seed", range(3))
def test_healthy_rows_raise_no_alarm(world: World, seed: int) -> None:
    rows = world.resample(seed)
    report = world.watched(world.served(rows), outcomes(rows))
    assert red(report) == set() and report.verdict is Verdict.OK


def test_a_unit_changed_upstream_is_drift_and_no_skew(world: World, shop: World) -> None:
    world, column = pick(is_number, world, shop)
    rows = world.resample(0)
    report = world.watched(world.served(rows.assign(**{column.name: rows[column.name] * 1609})))
    assert report[f"monitor.drift.{column.name}"].verdict is Verdict.FAIL
    if column.high is not None:
        assert report["monitor.invariants"].verdict is Verdict.FAIL
        assert column.name in report["monitor.invariants"].evidence
    assert not [name for name in red(report) if name.startswith("skew.")]


def test_a_unit_changed_in_the_serving_path_is_skew_and_no_drift(world: World, shop: World) -> None:
    world, column = pick(is_number, world, shop)
    rows, plan = world.resample(0), world.scorer.plan
    report = world.watched(world.served(rows, inside=rows.assign(**{column.name: rows[column.name] * 1609})))
    touched = {f"skew.{name}" for name in plan.names if column.name in plan.ancestors(name)}
    assert touched & red(report) and {name for name in red(report) if name.startswith("skew.")} <= touched
    assert not [name for name in red(report) if name.startswith(("monitor.drift.", "monitor.inv"))]


def test_a_look_up_that_is_served_otherwise_than_trained_is_skew(world: World, shop: World) -> None:
    world, column = pick(lambda c: c.is_number and c.source not in ("request", "outcome"), world, shop)
    contract, rows = world.contract, world.resample(0, 2_000)
    tables = {look.name: synthetic_lookup(contract, look, rows) for look in contract.lookups}
    rows = rows.drop(columns=[name for look in contract.lookups for name in contract.from_source(look.name)])
    rows = lookups.join(rows, contract, tables)
    healthy = world.watched(world.served(rows), tables=tables)
    assert healthy[f"skew.{column.source}.{column.name}"].verdict is Verdict.OK
    other = rows.assign(**{column.name: rows[column.name] * 1.8 + 32})
    faulty = world.watched(world.served(other.head(400)), tables=tables)
    assert {name for name in red(faulty) if name.startswith("skew.")} == {f"skew.{column.source}.{column.name}"}
    nothing = world.watched(world.served(rows.head(400)))[f"skew.{column.source}.*"]
    assert nothing.verdict is Verdict.INSUFFICIENT and not nothing.required


def test_look_ups_are_read_back_to_what_the_oldest_prediction_may_have_found(tmp_path: Path, shop: World) -> None:
    days = pd.date_range("2026-01-01", periods=3, freq="30D")
    for place, day in enumerate(days):
        folder = tmp_path / f"data/checked/period={place}"
        folder.mkdir(parents=True)
        table = pd.DataFrame({"shop": ["a"], "known": [day], "price": [place]})
        table.to_parquet(folder / f"{shop.contract.lookups[0].name}.parquet")
    logged = pd.DataFrame({"asked": [days[2] + pd.Timedelta(days=2)]})
    assert lookup_table(tmp_path, shop.contract.lookups[0], logged)["price"].tolist() == [2, 1]


def test_values_that_vanish_are_seen(world: World, shop: World) -> None:
    kinds = ("float", "category", "text")
    world, column = pick(lambda c: c.kind in kinds and (c.nullable or c.source != "request"), world, shop)
    rows = world.resample(0)
    rows.loc[rows.index % 3 == 0, column.name] = np.nan if column.is_number else None
    assert f"monitor.missing.{column.name}" in red(world.watched(world.served(rows)))


def test_a_word_that_the_contract_does_not_know_is_seen_at_once(world: World, shop: World) -> None:
    world, column = pick(lambda c: c.kind == "category", world, shop)
    rows = world.resample(0, 20)
    rows.loc[3, column.name] = "no such word"
    check = world.watched(world.served(rows))["monitor.invariants"]
    assert check.verdict is Verdict.FAIL and f"data.category {column.name} (1)" in check.evidence


def test_a_score_or_a_decision_that_is_not_the_models_is_seen(world: World) -> None:
    logged = world.served(world.resample(0, 50))
    wrong = logged.assign(score=logged["score"].to_numpy()[::-1])
    assert "skew.score" in red(world.watched(wrong))
    other = {"binary": CONTRACT.classes[::-1], "multiclass": CONTRACT.classes}.get(CONTRACT.task, [-1.0, -2.0])
    decision: Any = CONTRACT.outcome.kind != "bool" and other[0]
    rows = logged.assign(decision=~logged["decision"].astype(bool) if decision is False else decision)
    assert "decision" in world.watched(rows)["monitor.invariants"].evidence


def test_too_few_rows_are_insufficient_and_nothing_else_is_hidden(world: World) -> None:
    logged = world.served(world.resample(0, 100))
    report = world.watched(logged)
    assert report["monitor.rows"].verdict is Verdict.INSUFFICIENT and report.exit_code == 4
    name = f"feature__{world.scorer.plan.names[0]}"
    assert world.watched(logged.assign(**{name: logged[name] + 1e-9})).exit_code == 3
    assert world.watched(logged.iloc[:0]).exit_code == 4
    with pytest.raises(project.ProjectError, match=f"no column '{name}'"):
        world.watched(logged.drop(columns=name))


def test_columns_that_move_together_fail(world: World) -> None:
    rows = world.resample(0)
    stuck = {name: rows[name].value_counts().index[-1] for name in world.scorer.plan.columns}
    report = world.watched(world.served(rows.assign(**stuck)))
    assert {"monitor.drifted_share", "monitor.predictions"} <= red(report)


def test_a_champion_of_old_data_is_stale(world: World) -> None:
    logged = world.served(world.resample(0, 50))
    assert "monitor.staleness" in red(world.watched(logged, age=4, oldest=3))
    assert world.watched(logged, age=3, oldest=3)["monitor.staleness"].verdict is Verdict.OK
    unknown = world.watched(logged, age=40)["monitor.staleness"]
    assert unknown.verdict is Verdict.INSUFFICIENT and not unknown.required


def test_quality_is_judged_as_soon_as_outcomes_are_known(world: World) -> None:
    rows = world.resample(0)
    logged, known = world.served(rows), outcomes(rows)
    silent = world.watched(logged.tail(100))
    assert not silent["monitor.quality"].required and silent["monitor.outcomes"].verdict is Verdict.INSUFFICIENT
    few = world.watched(logged.tail(100), known)
    assert few["monitor.quality"].verdict is Verdict.INSUFFICIENT and few["monitor.outcomes"].value == 1.0
    shuffled = known.assign(**{OUTCOME: known[OUTCOME].sample(frac=1, random_state=0).to_numpy()})
    assert "monitor.quality" in red(world.watched(logged, shuffled.sample(frac=1, random_state=1)))


@pytest.mark.parametrize(("measured", "expected"), [({"roc_auc": 0.85}, "ok"), ({"roc_auc": 0.9}, "insufficient")])
def test_what_the_scores_promise_is_compared_with_what_the_gate_measured(measured: Any, expected: str) -> None:
    check = estimate(np.linspace(0, 1, 1_000), measured, LIMITS)  # promises 5/6
    assert check.value == pytest.approx(5 / 6, abs=1e-3) and check.verdict == expected and not check.required
    assert estimate(np.linspace(0, 1, 1_000), {}, LIMITS).verdict is Verdict.INSUFFICIENT


def installed(root: Path, world: World) -> str:
    """A served model in an otherwise empty project; returns its fingerprint."""
    folder = root / "var/models" / ("f" * 64)
    scoring.save(world.scorer, folder, CONTRACT)
    world.reference.to_parquet(folder / scoring.REFERENCE, index=False)
    facts = {"trained on": "1", "model": project.digest(folder)} | world.measured
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


def written(root: Path, logged: Rows, world: World) -> None:
    arrays = CONTRACT.arrays(logged)
    rows = {n: cells(CONTRACT.columns[n], arrays[n]) if n in arrays else logged[n].tolist() for n in logged}
    writer = log.PredictionLog(root / log.FOLDER / "1.db")
    writer.append(rows, log.types(CONTRACT, world.scorer.plan.names))
    writer.close()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, world: World) -> Path:
    installed(tmp_path, world)
    monkeypatch.setattr(TEAM.data, "periods", lambda: ["1", "2", "3"])
    return tmp_path


def test_the_log_of_the_service_gives_one_page_that_loads_nothing(root: Path, world: World) -> None:
    with pytest.raises(project.ProjectError, match="was ever predicted"):
        _outcomes_file(root, world.resample(0, 10), ".csv")
    assert monitor(root).exit_code == 4
    rows = world.resample(0, 1_000)
    logged = world.served(rows)
    written(root, pd.concat([logged, logged.assign(fingerprint="another", **{log.ID: logged[log.ID] + "x"})]), world)
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
    assert set(log.read(root, columns=["score", "not there"])) == {"at", "score"}


def test_answers_of_another_model_and_an_override_that_has_ended_are_told(root: Path, world: World) -> None:
    pointer = root / "var/champion.json"
    over = {"by": "Grace", "until": "2001-01-01", "reason": "the season"}
    project.write_json(pointer, project.read_json(pointer) | {"override": over})
    os.utime(pointer, (0, 0))
    written(root, world.served(world.resample(0, 20)).assign(fingerprint="another"), world)
    assert red(monitor(root)) == {"serving.follow", "monitor.override"}


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


def test_outcomes_are_taken_once_and_only_for_what_was_predicted(root: Path, world: World) -> None:
    rows = world.resample(0, 300)
    written(root, world.served(rows.head(200)), world)
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
if method == os.environ.get("GH_REFUSES"):
    sys.exit("HTTP 403: forbidden")
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
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
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
        checks = [replace(FIRST, verdict=verdict, evidence="a|b"), replace(FIRST, name="monitor.fine")]
        project.write_json(tmp_path / "var/monitor/latest.json", Report("monitor", checks).to_dict())
        assert alarm(tmp_path) == 0
        assert f"alarm: {verdict}; " in capsys.readouterr().out
        lines = (tmp_path / "state.log").read_text().splitlines() if (tmp_path / "state.log").exists() else []
        return [" ".join(line.split()[:2]).replace("repos/team/project/", "") for line in lines]

    train = ["PATCH issues/1", "POST actions/workflows/ct.yml/dispatches"]
    assert calls(Verdict.INSUFFICIENT, "1") == []
    assert calls(Verdict.OK, "1") == ["GET issues"]
    assert calls(Verdict.FAIL, "1") == ["GET issues", "POST issues", *train]
    (issue,) = json.loads((tmp_path / "state").read_text())
    lines = ["**monitor**: FAIL", "", "| check | value | limit | evidence |", "|---|---|---|---|"]
    assert issue["body"].splitlines()[:-1] == [*lines, "| monitor.rows | 0.5 | 0.3 | a/b |"]
    assert calls(Verdict.FAIL, "1") == ["GET issues", "POST issues/1/comments"]
    assert calls(Verdict.FAIL, "2") == ["GET issues", "POST issues/1/comments", *train]
    assert calls(Verdict.OK, "2") == ["GET issues", "POST issues/1/comments", "PATCH issues/1"]
    assert calls(Verdict.FAIL, "2") == ["GET issues", "POST issues"]  # trained for this period already
    monkeypatch.setenv("GH_REFUSES", "GET")
    with pytest.raises(project.ProjectError, match="GitHub refused GET issues: HTTP 403: forbidden"):
        calls(Verdict.FAIL, "3")
    monkeypatch.delenv("GITHUB_REPOSITORY")
    assert calls(Verdict.FAIL, "3") == []
