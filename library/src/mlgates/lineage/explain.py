"""explain: one prediction from request to decision, each step computed again and compared with what was served.

A feature contributes what the score loses when its value is not known: on average over the values of rows of the
reference (Robnik-Sikonja and Kononenko, 2008, doi:10.1109/TKDE.2007.190734). That works for any model. Of features that
say the same none contributes much, so the contributions need not add up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from mlgates.contract import Contract
from mlgates.data import tombstones
from mlgates.errors import ProjectError
from mlgates.grid import Grid
from mlgates.layout import REFERENCE
from mlgates.model_folder import Scorer
from mlgates.monitoring import skew
from mlgates.monitoring.watch import logged_scores, lookup_table
from mlgates.project import Project
from mlgates.registry import deploy, releases
from mlgates.reports import number, terminal
from mlgates.trust.champion import load_signed
from mlgates.verdict import Check, Report, Verdict

if TYPE_CHECKING:
    import pandas as pd

ROWS = 200  # of the reference, whose values stand in for an unknown one


@dataclass
class Explained(Report):
    """A report on one prediction; `parts` are tables of what it was made of, headings first."""

    parts: list[list[list[str]]] = field(default_factory=list)

    def __str__(self) -> str:
        """All of it for a terminal."""
        facts = "\n".join(f"{name}: {number(value)}" for name, value in self.facts.items())
        return "\n\n".join(
            [
                facts,
                *(Grid(head, rows).text() for head, *rows in self.parts if rows),
                terminal(self),
            ]
        )


def explain(project: Project, prediction: str) -> Explained:
    """Explain a logged prediction by the model that made it.

    Raises: ProjectError if the log or the record does not know it, or the model cannot be had or is not trusted.
    """
    import pandas as pd

    from mlgates.serving import prediction_log

    logged = prediction_log.read(project, one=prediction)
    if logged.empty:
        erased = " Rows that were erased are gone from it." if tombstones.listed(project) else ""
        remedy = f"Each answer names its own; they look like {prediction_log.new_ids(1)[0]}"
        raise ProjectError(
            f"The prediction log of this machine has no {prediction!r}.{erased}", remedy
        )
    known, fingerprint = releases.read(project), str(logged["fingerprint"][0])
    made = known.of(fingerprint)
    if made is None:
        raise ProjectError(
            f"The record has no model {fingerprint[:8]}, which made it.", "Run: git fetch --tags"
        )
    folder = deploy.bring(project, known, made)
    scorer = load_signed(project, folder, str(logged["digest"][0]))
    tables = {look.name: lookup_table(project, look, logged) for look in project.contract.lookups}
    found = explained(project.contract, scorer, pd.read_parquet(folder / REFERENCE), logged, tables)
    made_at = f"{datetime.fromtimestamp(logged['at'][0], UTC):%Y-%m-%d %H:%M:%S} UTC"
    found.facts = {
        "prediction": prediction,
        "release": logged["release"][0],
        "made": made_at,
    } | found.facts
    return found


def explained(
    contract: Contract,
    scorer: Scorer,
    reference: "pd.DataFrame",
    logged: "pd.DataFrame",
    tables: "Mapping[str, pd.DataFrame]",
) -> Explained:
    """Explain the one row `logged`, as `serving.prediction_log` reads it.

    `tables` are the checked look-ups of its time.
    """
    features = [f"feature__{name}" for name in scorer.plan.names]
    arrays, scores = contract.arrays(logged), logged_scores(contract, logged)
    served = logged[features].to_numpy(dtype=float, na_value=np.nan)
    *equal, close = skew.features(scorer, served, scorer.matrix(arrays), scores)
    looked_up = skew.looked_up(contract, logged, arrays, tables)
    decision, again = logged["decision"].iloc[0], scorer.decide(scores)[0]
    if decision != again:
        close = replace(
            close, verdict=Verdict.FAIL, evidence=f"decided {decision}, the score says {again}"
        )
    checks = [_all("explain.features", equal), replace(close, name="explain.score")]
    if looked_up:
        checks.insert(0, _all("explain.lookup", looked_up))
    values = [["part", "column", "served", "age"]]
    for name, column in contract.feature_columns.items():
        age = _cell(logged[aged].iloc[0]) if (aged := f"{column.source}__age") in logged else ""
        values.append(
            [column.source, column.label, _cell(logged[name].iloc[0]), f"{age} s" if age else ""]
        )
    gains = contributions(scorer, served[0], scorer.matrix(contract.arrays(reference)))
    lines = zip(scorer.plan.names, _words(scorer, served[0]), gains, strict=True)
    weighed = [
        [name, _cell(value), f"{gain:+.4f}"]
        for name, value, gain in sorted(lines, key=lambda x: -abs(x[2]))
    ]
    weighed.insert(0, ["feature", "served", "contribution"])
    shown = ", ".join(f"{x:.6g}" for x in np.ravel(scores[0]))
    return Explained(
        "explain", checks, {"decision": _cell(again), "score": shown}, parts=[values, weighed]
    )


def contributions(scorer: Scorer, row: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(k,) what each feature adds to the score of one row (k,); for classes, to that of the most probable one."""
    others = reference[np.linspace(0, len(reference) - 1, ROWS).astype(int)]
    changed = np.tile(row, (len(row), ROWS, 1))
    for place in range(len(row)):
        changed[place, :, place] = others[:, place]
    scores = scorer.score(np.vstack([row[None], changed.reshape(-1, len(row))]))
    if scores.ndim > 1:
        scores = scores[:, scores[0].argmax()]
    return np.asarray(scores[0] - scores[1:].reshape(len(row), ROWS).mean(axis=1))


def _all(name: str, parts: list[Check]) -> Check:
    """Some checks as one: it fails if any does, and is inconclusive, but not required, if none could be made."""
    wrong = [check for check in parts if check.verdict is Verdict.FAIL]
    told = "; ".join(
        f"{check.name.partition('.')[2]}: {check.evidence.removeprefix('first: ')}"
        for check in wrong
    )
    if not wrong and not any(check.verdict is Verdict.OK for check in parts):
        return replace(parts[0], name=name)
    return Check(
        name, Verdict.FAIL if wrong else Verdict.OK, len(wrong), 0, rows=len(parts), evidence=told
    )


def _words(scorer: Scorer, row: np.ndarray) -> list[Any]:
    """Feature values as people know them: a category is its word."""
    known = [
        (scorer.vocabulary.get(name), value)
        for name, value in zip(scorer.plan.names, row, strict=True)
    ]
    return [words[int(value)] if words and value == value else value for words, value in known]


def _cell(value: Any) -> str:
    value = getattr(value, "item", lambda: value)()
    if value is None or value != value:
        return ""
    return number(value) if isinstance(value, bool | int | float) else str(value)
