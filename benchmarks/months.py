"""Run in a flights project: what the data gate says of real months, healthy and poisoned, and what it costs.

`python months.py UNTIL [--rows N ...]` prints JSON: how often each check was red in the months from the fourth on, how
often planted poison was caught by name, and CPU seconds of validation for some numbers of rows.
"""

import argparse
import json
import resource
import time
from collections import Counter
from typing import Any

import numpy as np
import pandas as pd
from late_flights.ops.pipeline import periods as on_disk
from late_flights.ops.pipeline.ingest import ingest
from late_flights.ops.pipeline.poison import poison, signs
from late_flights.ops.pipeline.validate import check_period, check_table
from late_flights.ops.project import find_root, params, quiet_tools, read_json, yours
from late_flights.ops.verdict import Report, Verdict

BEFORE = 3
ROOT, TEAM = find_root(), yours()
CONTRACT, LIMITS = TEAM.contract, params(ROOT)["validate"]
OUTCOME = CONTRACT.outcome.name


def flipped(rows: pd.DataFrame, word: str, share: float) -> pd.DataFrame:
    """A share of the outcomes of one origin is turned round."""
    chosen = (rows["origin"] == word).to_numpy() & (np.random.default_rng(0).random(len(rows)) < share)
    return rows.assign(**{OUTCOME: rows[OUTCOME] ^ chosen})


def planted(rows: pd.DataFrame) -> dict[str, list[tuple[str, pd.DataFrame]]]:
    """By kind: the check that must be red, and the poisoned rows."""
    origins = rows["origin"].value_counts(normalize=True)
    marked = rows.assign(flight=rows["flight"].mask(rows.index % 100 == 0, 9_876))
    same = rows.assign(**{n: rows[n].mask(rows.index % 50 == 0, rows[n][0]) for n in ("carrier", "origin", "dest")})
    same = same.assign(**{n: same[n].mask(same.index % 50 == 0, same[n][0]) for n in ("flight", "distance")})
    return {
        "3 % of a month's outcomes, in one slice": [
            (f"poison.labels.origin={word}", flipped(rows, str(word), 0.03 / part)) for word, part in origins.items()
        ],
        "3 % of a slice's outcomes": [
            (f"poison.labels.origin={word}", flipped(rows, str(word), 0.03)) for word in origins.index
        ],
        "1 % of a month carries a trigger": [("poison.trigger", marked)],
        "2 % of a month are near-identical": [("poison.flood", same)],
    }


def months(until: str) -> dict[str, Any]:
    """Red checks of healthy months, and poison caught by name: [caught, planted]."""
    known = [period for period in on_disk.names(TEAM.data) if period <= until]
    ingest(ROOT, TEAM.data, CONTRACT, known)
    red: Counter[str] = Counter()
    caught: dict[str, list[int]] = {}
    for place, period in enumerate(known):
        before = known[max(0, place - BEFORE) : place]
        report = check_period(ROOT, CONTRACT, period, before, LIMITS)
        if place < BEFORE:
            continue
        red.update(check.name for check in report.named("") if check.verdict is Verdict.FAIL)
        rows = on_disk.read(ROOT, "checked", period)
        old = pd.concat([on_disk.read(ROOT, "checked", one, "rows.sample") for one in before], ignore_index=True)
        earlier = [read_json(on_disk.folder(ROOT, "checked", one) / "report.json")["facts"]["signs"] for one in before]
        for kind, cases in planted(rows).items():
            for name, bad in cases:
                now = signs(CONTRACT, bad, 2 * LIMITS["drift_min_rows"])
                found = Report("planted", poison(CONTRACT, earlier, now, (old, bad), LIMITS))
                caught.setdefault(kind, [0, 0])[0] += found[name].verdict is Verdict.FAIL
                caught[kind][1] += 1
    return {"months": len(known) - BEFORE, "red": dict(red.most_common()), "caught": caught}


def cost(rows: int) -> dict[str, float]:
    """CPU seconds of `check_table` for so many rows (the year again and again), and the gigabytes it takes."""
    year = pd.concat([TEAM.data.read(period) for period in on_disk.names(TEAM.data)], ignore_index=True)
    frame = pd.concat([year] * -(-rows // len(year)), ignore_index=True).head(rows)
    shift = pd.to_timedelta(366 * (np.arange(rows) // len(year)), "D")
    frame = frame.assign(scheduled=frame["scheduled"] + shift, asked=frame["asked"] + shift)
    check_table(frame.head(1000), CONTRACT, LIMITS)  # imports
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    check_table(frame, CONTRACT, LIMITS)
    used = time.process_time() - start
    return {"seconds": used, "gigabytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1e6}


if __name__ == "__main__":
    quiet_tools()
    parser = argparse.ArgumentParser()
    parser.add_argument("until")
    parser.add_argument("--rows", type=int, nargs="*", default=[])
    given = parser.parse_args()
    print(json.dumps({**months(given.until), "cost": {rows: cost(rows) for rows in given.rows}}))
