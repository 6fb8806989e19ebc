"""CPU seconds of intervals over all rows and 40 slices, and of resampling them naively.

Run in a flights project; `python intervals.py` prints JSON. Both make as many paired resamples of
the average precision. The naive way draws rows and calls scikit-learn. It makes only some of the
resamples, and its time is scaled up to all of them.
"""

import json
import time

import numpy as np
from sklearn.metrics import average_precision_score
from threadpoolctl import threadpool_limits

from mlgates.evaluation import metrics

ROWS, SLICES, RESAMPLES, DRAWN = 30_000, 40, 200, 4


def main() -> None:
    """Measure both, on the same scores and slices of very different sizes."""
    random = np.random.default_rng(0)
    scores = random.random(ROWS)
    target = (random.random(ROWS) < scores / 2).astype(float)
    slices = random.geometric(0.1, ROWS) % SLICES
    places = [np.arange(ROWS)]
    places += [np.flatnonzero(slices == part) for part in range(SLICES)]

    start = time.process_time()
    measures = {}
    for number, some in enumerate(places):
        measure = metrics.average_precision(target[some], scores[some])
        measures[str(number)] = metrics.on_rows(some, measure)
    found = metrics.estimates(measures, ROWS, RESAMPLES, seed=0)
    ours = time.process_time() - start

    start = time.process_time()
    for _ in range(DRAWN):
        drawn = np.bincount(random.integers(0, ROWS, ROWS), minlength=ROWS)
        for some in places:
            again = np.repeat(some, drawn[some])
            average_precision_score(target[again], scores[again])
    naive = (time.process_time() - start) * RESAMPLES / DRAWN
    assert np.isclose(found["0"].value, average_precision_score(target, scores))
    print(json.dumps({"ours": ours, "naive": naive}))


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
