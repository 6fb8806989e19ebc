"""The monitor's verdict: quiet on healthy rows, and about the model that is in service here."""

import os
import re
import time
from pathlib import Path

import pandas as pd
import pytest

from mlgates import Project
from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.layout import CHAMPION, MODELS, MONITOR
from mlgates.monitoring import Watched, watch_champion, write
from mlgates.monitoring.watch import PAGES, lookup_table
from mlgates.serving import prediction_log
from mlgates.serving.prediction_log import ID
from mlgates.verdict import Check, Report, Verdict
from worlds import DAY, World, failed

LOADS_FROM_OUTSIDE = r"<(?:script|img|link|iframe)[^>]{0,200}(?:src|href)=[^>]{0,9}http"


def monitor(project: Project) -> Watched:
    """What the wiring says: `main` of the sample's monitor.py."""
    report: Watched = project.module("monitor").main(project)
    return report


@pytest.mark.parametrize("seed", range(3))
def test_healthy_rows_raise_no_alarm(world: World, seed: int) -> None:
    rows = world.resample(seed)
    report = world.watched(world.served(rows), world.known(rows))
    assert failed(report) == set()
    assert report.verdict is Verdict.OK


def test_too_few_rows_are_inconclusive_and_hide_nothing_else(world: World) -> None:
    logged = world.served(world.resample(0, 100))
    report = world.watched(logged)
    assert report["monitor.min_rows"].verdict is Verdict.INCONCLUSIVE
    assert report.exit_code == 4
    name = f"feature__{world.scorer.plan.names[0]}"
    assert world.watched(logged.assign(**{name: logged[name] + 1e-9})).exit_code == 3
    assert world.watched(logged.iloc[:0]).exit_code == 4
    with pytest.raises(ProjectError, match=f"no column '{name}'"):
        world.watched(logged.drop(columns=name))


def test_a_champion_of_old_data_is_stale(world: World) -> None:
    logged = world.served(world.resample(0, 50))
    assert "monitor.staleness" in failed(world.watched(logged, age=4, oldest=3))
    young = world.watched(logged, age=3, oldest=3)["monitor.staleness"]
    assert young.verdict is Verdict.OK
    unknown = world.watched(logged, age=40)["monitor.staleness"]
    assert unknown.verdict is Verdict.INCONCLUSIVE
    assert not unknown.required


def test_look_ups_are_read_back_to_what_the_oldest_prediction_may_have_found(
    tmp_path: Path, shop: World
) -> None:
    (look,) = shop.contract.lookups
    days = pd.date_range("2026-01-01", periods=3, freq="30D")
    for place, day in enumerate(days):
        folder = tmp_path / f"data/checked/period={place}"
        folder.mkdir(parents=True)
        table = pd.DataFrame({"shop": ["a"], "known": [day], "price": [place]})
        table.to_parquet(folder / f"{look.name}.parquet")
    logged = pd.DataFrame({"asked": [days[2] + pd.Timedelta(days=2)]})
    found = lookup_table(shop.project.moved(tmp_path), look, logged)
    assert found["price"].tolist() == [2, 1]


def test_the_log_of_the_service_gives_one_page_that_loads_nothing(
    installed: Project, world: World
) -> None:
    folder = installed.root / MONITOR
    assert monitor(installed).exit_code == 4
    rows = world.resample(0, 1_000)
    logged = world.served(rows)
    others = logged.assign(fingerprint="another", **{ID: logged[ID] + "x"})
    world.write_log(installed, pd.concat([logged, others]))
    report = monitor(installed)
    assert failed(report) == set()
    assert report.facts["predictions"] == report.facts["by other models"] == len(rows)
    stored = read_json(folder / "latest.json")
    assert Report.from_dict(stored).verdict is report.verdict
    text = (folder / "latest.html").read_text()
    for part in ("monitor.drifted_share", "srcdoc=", "Content-Security-Policy"):
        assert part in text
    assert not re.findall(LOADS_FROM_OUTSIDE, text.replace("&quot;", '"'))
    assert len(list(folder.glob("2*.json"))) == 2
    some = prediction_log.read(installed, columns=["score", "not there"])
    assert set(some) == {"at", "score"}


def test_only_what_was_predicted_since_is_watched(installed: Project, world: World) -> None:
    logged = world.served(world.resample(0, 40))
    old = logged["at"] - DAY
    world.write_log(installed, logged.assign(at=old.where(logged.index < 30, logged["at"])))
    distributions = installed.module("monitor").distributions
    validate = installed.stage("validate").check
    every = watch_champion(installed, distributions, validate)
    recent = watch_champion(installed, distributions, validate, since=time.time() - DAY / 2)
    assert every.facts["predictions"] == 40
    assert recent.facts["predictions"] == 10
    assert recent.facts["period"] == "2"
    assert recent.title == "monitor  v1.0.0 (ffffffff)"
    assert recent["monitor.staleness"].value == 1
    assert not (installed.root / MONITOR).exists()


def test_every_report_is_kept_and_the_last_pages(empty: Project) -> None:
    folder = empty.root / MONITOR
    folder.mkdir(parents=True)
    for day in range(PAGES + 5):
        for kind in ("html", "json"):
            (folder / f"2001-01-01T{day:06}.{kind}").touch()
    checks = [Check("monitor.min_rows", Verdict.OK, rows=7)]
    write(empty, Watched("monitor", checks, html="<head></head><p>its own page</p>"))
    assert len(list(folder.glob("2*.json"))) == PAGES + 6
    pages = sorted(path.name for path in folder.glob("2*.html"))
    assert len(pages) == PAGES
    assert pages[0] == "2001-01-01T000006.html"
    latest = (folder / "latest.html").read_text()
    assert latest == (folder / pages[-1]).read_text()
    assert "its own page" in latest
    assert "default-src data:" in latest
    assert read_json(folder / "latest.json")["verdict"] == "ok"
    write(empty, Watched("monitor", checks))
    assert "<iframe" not in (folder / "latest.html").read_text()


def test_answers_of_another_model_and_an_override_that_has_ended_fail(
    installed: Project, world: World
) -> None:
    pointer = installed.root / CHAMPION
    override = {"by": "Grace", "until": "2001-01-01", "reason": "the season"}
    write_json(pointer, {**read_json(pointer), "override": override})
    os.utime(pointer, (0, 0))
    rows = world.resample(0, 20)
    world.write_log(installed, world.served(rows).assign(fingerprint="another"))
    assert failed(monitor(installed)) == {"serving.follow", "monitor.override"}


def test_a_changed_model_is_not_watched(installed: Project) -> None:
    with (installed.root / MODELS / ("f" * 64) / "model.pkl").open("ab") as file:
        file.write(b"0")
    with pytest.raises(ProjectError, match=r"serving\.digest"):
        monitor(installed)
    (installed.root / CHAMPION).unlink()
    with pytest.raises(ProjectError, match="No model is in service"):
        monitor(installed)
