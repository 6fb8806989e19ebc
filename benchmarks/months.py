"""What the data gate says of real months, healthy and poisoned, and what it costs.

Run in a flights project; `python months.py UNTIL [--rows N ...]` prints JSON: how often each check
was red in the months from the fourth on, how often planted poison was caught by name, and CPU
seconds of validation for some numbers of rows.
"""

import argparse
import json
import resource
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from mlgates import Project, data
from mlgates.command import quiet_tools
from mlgates.data import partitions
from mlgates.data.poisoning import measure_signs, poison_checks
from mlgates.data.table_checks import check_table
from mlgates.data.validation import check_period
from mlgates.files import read_json
from mlgates.verdict import Report, Verdict

BEFORE = 3
PROJECT = Project.find()
CONTRACT, LIMITS = PROJECT.contract, PROJECT.settings().validate
CHECK = PROJECT.stage("validate").check  # the wiring's own call of Great Expectations
OUTCOME = CONTRACT.outcome.name


def flipped(rows: pd.DataFrame, word: str, share: float) -> pd.DataFrame:
    """A share of the outcomes of one origin is turned round."""
    drawn = np.random.default_rng(0).random(len(rows)) < share
    chosen = (rows["origin"] == word).to_numpy() & drawn
    return rows.assign(**{OUTCOME: rows[OUTCOME] ^ chosen})


def planted(rows: pd.DataFrame) -> dict[str, list[tuple[str, pd.DataFrame]]]:
    """By kind: the check that must be red, and the poisoned rows."""
    origins = rows["origin"].value_counts(normalize=True)
    marked = rows.assign(flight=rows["flight"].mask(rows.index % 100 == 0, 9_876))
    alike = rows
    for name in ("carrier", "origin", "dest", "flight", "distance"):
        column = alike[name].mask(alike.index % 50 == 0, alike[name][0])
        alike = alike.assign(**{name: column})
    return {
        "3 % of a month's outcomes, in one slice": [
            (f"poison.label_flips.origin={word}", flipped(rows, str(word), 0.03 / part))
            for word, part in origins.items()
        ],
        "3 % of a slice's outcomes": [
            (f"poison.label_flips.origin={word}", flipped(rows, str(word), 0.03))
            for word in origins.index
        ],
        "1 % of a month carries a trigger": [("poison.trigger", marked)],
        "2 % of a month are near-identical": [("poison.near_duplicates", alike)],
    }


def close(periods: list[str]) -> None:
    """Ingest periods, whatever the cycle says."""
    for period in data.absent_periods(PROJECT, periods):
        tables = {data.ROWS: PROJECT.data.read(period)}
        for lookup in CONTRACT.lookups:
            tables[lookup.name] = PROJECT.data.lookup(lookup.name, period)
        data.close_period(PROJECT, period, tables)
    data.write_manifest(PROJECT, periods)


def months(until: str) -> dict[str, Any]:
    """Red checks of healthy months, and poison caught by name: [caught, planted]."""
    periods = [period for period in partitions.period_names(PROJECT.data) if period <= until]
    close(periods)
    red: Counter[str] = Counter()
    caught: dict[str, list[int]] = {}
    for place, period in enumerate(periods):
        before = periods[max(0, place - BEFORE) : place]
        report = check_period(PROJECT, period, before, CHECK)
        if place < BEFORE:
            continue
        red.update(check.name for check in report.named("") if check.verdict is Verdict.FAIL)

        rows = partitions.read(PROJECT, "checked", period)
        samples = [partitions.read(PROJECT, "checked", name, "rows.sample") for name in before]
        old = pd.concat(samples, ignore_index=True)
        folders = [partitions.folder(PROJECT, "checked", name) for name in before]
        earlier = [read_json(folder / "report.json")["facts"]["signs"] for folder in folders]
        for kind, cases in planted(rows).items():
            tally = caught.setdefault(kind, [0, 0])
            for check_name, bad in cases:
                now = measure_signs(CONTRACT, bad, 2 * LIMITS.drift_min_rows)
                found = Report("planted", poison_checks(CONTRACT, earlier, now, (old, bad), LIMITS))
                tally[0] += found[check_name].verdict is Verdict.FAIL
                tally[1] += 1
    return {"months": len(periods) - BEFORE, "red": dict(red.most_common()), "caught": caught}


def cost(rows: int) -> dict[str, float]:
    """CPU seconds of `check_table` for a number of rows, and the gigabytes that it takes.

    The rows are those of the year, repeated as often as needed.
    """
    year = pd.concat(
        [PROJECT.data.read(period) for period in partitions.period_names(PROJECT.data)],
        ignore_index=True,
    )
    frame = pd.concat([year] * -(-rows // len(year)), ignore_index=True).head(rows)
    shift = pd.to_timedelta(366 * (np.arange(rows) // len(year)), "D")
    frame = frame.assign(scheduled=frame["scheduled"] + shift, asked=frame["asked"] + shift)
    check_table(frame.head(1000), CONTRACT, LIMITS, CHECK)  # imports
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # in kilobytes
    start = time.process_time()
    check_table(frame, CONTRACT, LIMITS, CHECK)
    seconds = time.process_time() - start
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"seconds": seconds, "gigabytes": (after - before) / 1e6}


if __name__ == "__main__":
    quiet_tools()
    parser = argparse.ArgumentParser()
    parser.add_argument("until")
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    given = parser.parse_args()
    print(json.dumps({**months(given.until), "cost": {rows: cost(rows) for rows in given.rows}}))
