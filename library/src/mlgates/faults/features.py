"""Faults in features: one gains nothing, one costs too much, a waiver has run out; and a drill that adds one."""

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates import tools
from mlgates.faults.planting import Bench, NotApplicable, fault, healthy, strict
from mlgates.faults.trust import as_if_judged
from mlgates.features import Plan, plan
from mlgates.files import write_text
from mlgates.gate.feature_rules import judge
from mlgates.layout import CANDIDATE, DVC_LOCK, PARAMS, REFERENCE, REPORTS, SOURCES
from mlgates.local_service import ask, free_port, served
from mlgates.model_folder import load
from mlgates.monitoring import skew
from mlgates.project import Project
from mlgates.registry.git import git
from mlgates.registry.sandbox import scratch
from mlgates.serving import prediction_log
from mlgates.training.ablation import ablate
from mlgates.trust import champion, keys, verify
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

TODAY = "2025-01-01"  # of what is measured here
MOST_FILES = 2  # that a new feature may need: features.py, and its test


def _with(features: Plan, function: Callable[[np.ndarray], np.ndarray], column: str) -> Plan:
    """The plan with one more feature, `planted`."""
    return replace(
        features,
        names=(*features.names, "planted"),
        functions={**features.functions, "planted": function},
        arguments={**features.arguments, "planted": (column,)},
    )


def _measured(bench: Bench, features: Plan, rows: "pd.DataFrame", seed: int) -> dict[str, Any]:
    """What ablate says of `planted` in one period."""
    if len(rows) // 2 < bench.settings.gate.feature_min_rows:
        raise NotApplicable("too few rows to say what a feature gains")
    shuffled = rows.sample(frac=1, random_state=seed)
    halves = shuffled.iloc[::2].reset_index(drop=True), shuffled.iloc[1::2].reset_index(drop=True)
    found = ablate(bench.project, features, *halves, bench.settings, ["planted"])
    return {**found, "measured": TODAY}


def _history(
    bench: Bench, function: Callable[[np.ndarray], np.ndarray], periods: int
) -> list[dict[str, Any]]:
    features = plan(bench.project.features, bench.contract)
    planted = _with(features, function, features.columns[0])
    measured = bench.once(
        function.__name__,
        lambda: [_measured(bench, planted, bench.rows, seed) for seed in range(periods)],
    )
    return list(measured)


def _judged(bench: Bench, history: list[dict[str, Any]], waived_until: str = "") -> Report:
    waive = [f"planted until {waived_until}"] if waived_until else []
    return strict(Report("features", judge(history, replace(bench.settings.gate, waive=waive))))


def _noise(values: np.ndarray) -> np.ndarray:
    return np.random.default_rng(len(values)).random(len(values))


def _slow(values: np.ndarray) -> np.ndarray:
    time.sleep(0.005)
    return np.zeros(len(values))


@fault(
    "a feature of noise, three periods running", caught_by="gate.feature_gain.planted", row="Data 2"
)
def noise(bench: Bench) -> Report:
    """Nobody asked what the feature is good for."""
    return _judged(bench, _history(bench, _noise, 3))


@fault("a feature that takes 5 ms", caught_by="gate.feature_cost.planted", row="Data 3")
def slow(bench: Bench) -> Report:
    """A feature asks another service for each request, and gains nothing."""
    return _judged(bench, _history(bench, _slow, 1))


@fault("a feature whose waiver has run out", caught_by="gate.feature_gain.planted", row="Data 2")
def expired(bench: Bench) -> Report:
    """It was waived until the day before."""
    return _judged(bench, _history(bench, _noise, 3), "2024-12-31")


@healthy("waived features", seeds=1)
def waived(bench: Bench, _: int) -> Report:
    """A useless and a slow feature, waived until today."""
    reports = [
        _judged(bench, _history(bench, *planted), TODAY) for planted in ((_noise, 3), (_slow, 1))
    ]
    return Report("features", [check for report in reports for check in report.checks])


@healthy("a feature that tells something of the outcome")
def useful(bench: Bench, seed: int) -> Report:
    """It must be seen to gain, in each period, at its price."""
    random, name, target = (
        np.random.default_rng(seed),
        bench.number.name,
        bench.contract.target(bench.rows),
    )
    told = target + random.normal(0, 2 * target.std(), len(target))
    features = plan(bench.project.features, bench.contract)
    planted = _with(replace(features, names=(), categorical=()), lambda values: values * 1.0, name)
    report = _judged(bench, [_measured(bench, planted, bench.rows.assign(**{name: told}), seed)])
    shown = [
        check if check.verdict is Verdict.OK else replace(check, verdict=Verdict.FAIL)
        for check in report.checks
    ]
    return Report("features", shown)


@healthy("a new feature is added to a scratch clone", seeds=1, slow=True)
def drill(bench: Bench, _: int) -> Report:
    """One function more in features.py: the loop runs, the service computes the same, and it took so many seconds."""
    started = time.monotonic()
    if (
        not (bench.project.root / CANDIDATE / REFERENCE).exists()
        or bench.project.cycle()["until"] is None
    ):
        raise NotApplicable("nothing was trained yet")
    with scratch(bench.project) as clone:
        _add_feature(bench, clone)
        loop = [("dvc", "repro")]
        if clone.cycle()["champion"]:
            loop.insert(0, ("mlops", "follow"))
        for words in loop:
            if failure := tools.run(clone, *words).failure:
                return Report("drill", [Check("drill.loop", Verdict.FAIL, evidence=failure)])
        trained = time.monotonic() - started
        report = Report("drill", [_files(clone), *_skew(bench, clone)])
    seconds = f"{report.checks[0].value} file changed, trained and judged in {trained:.0f} s"
    report.facts["told"] = f"{seconds}, served without skew in {time.monotonic() - started:.0f} s"
    return report


@fault("a new feature that needs three files", caught_by="drill.files", row="Data 6", slow=True)
def scattered(bench: Bench) -> Report:
    """A feature is written down in the schema and in the parameters as well."""
    with scratch(bench.project) as clone:
        features = _add_feature(bench, clone)
        for path in (features.with_name("schema.py"), clone.root / PARAMS):
            path.write_text(path.read_text(encoding="utf-8") + "# drilled\n", encoding="utf-8")
        return Report("drill", [_files(clone)])


def _add_feature(bench: Bench, clone: Project) -> Path:
    """Append a feature of the first request column that one may read."""
    contract = bench.contract
    name = next((name for name in contract.request_columns if not contract.barred(name)), None)
    if name is None:
        raise NotApplicable("no feature may read any column of the request")
    kind = contract.columns[name].kind
    number = {"datetime": f'{name}.astype("datetime64[h]").astype(float) % 24'}.get(
        kind, f"({name} == {name}[0]) * 1.0"
    )
    code = f"{name} * 2.0" if contract.columns[name].is_number else number
    path = next((clone.root / SOURCES).glob("*/features.py"))
    text = path.read_text(encoding="utf-8")
    path.write_text(
        f'{text}\n\ndef drilled({name}):\n    """By the drill."""\n    return {code}\n',
        encoding="utf-8",
    )
    return path


def _files(clone: Project) -> Check:
    """The files that differ, but for what the pipeline writes."""
    lines = git(clone.root, "status", "--porcelain", "--untracked-files=all").splitlines()
    names = [line.split(maxsplit=1)[1] for line in lines]
    by_hand = [
        name for name in names if not name.endswith(DVC_LOCK.name) and f"{REPORTS}/" not in name
    ]
    return at_most("drill.files", len(by_hand), MOST_FILES, len(names), evidence=", ".join(by_hand))


def _skew(bench: Bench, clone: Project) -> list[Check]:
    """The candidate in a real service; what was logged is computed again, as the monitor does it."""
    folder = champion.place(clone, "drilled")
    shutil.copytree(clone.root / CANDIDATE, folder)
    pointer = {"alias": "champion", "release": "v0.0.0", "fingerprint": folder.name, "since": ""}
    as_if_judged(folder, pointer)
    write_text(verify.signature(folder), keys.sign(clone, folder))
    champion.put_in_service(clone, pointer)
    scorer = load(folder, bench.contract)
    with served(clone, free_port()) as url:
        ask(url, bench.contract.payload(bench.resample(0, 200)))
    logged = prediction_log.read(clone)
    told = logged[[f"feature__{name}" for name in scorer.plan.names]].to_numpy(
        dtype=float, na_value=np.nan
    )
    again = scorer.matrix(bench.contract.arrays(logged))
    return skew.features(scorer, told, again, scorer.score(told))
