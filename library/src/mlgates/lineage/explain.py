"""Explain one prediction, from the request to the decision (`mlops trace ID` prints it).

Each step is computed again and compared with what was served.

The contribution of a feature is what the score loses when its value is not known: the mean
difference to the scores with the values of other rows, those of the reference (Robnik-Sikonja and
Kononenko, 2008, doi:10.1109/TKDE.2007.190734). This works for any model. Where several features
carry the same information each contributes little, so the contributions need not add up.
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
from mlgates.verdict import Check, Report, Verdict, at_most

if TYPE_CHECKING:
    import pandas as pd

ROWS = 200  # of the reference, whose values take the place of an unknown one

Table = list[list[str]]  # its first row has the headings


@dataclass
class Explained(Report):
    """A report on one prediction; `parts` are tables of the values that it was made of."""

    parts: list[Table] = field(default_factory=list)

    def __str__(self) -> str:
        """All of it for a terminal."""
        facts = []
        for name, value in self.facts.items():
            facts.append(f"{name}: {number(value)}")
        paragraphs = ["\n".join(facts)]
        for headings, *rows in self.parts:
            paragraphs.append(Grid(headings, rows).text())
        paragraphs.append(terminal(self))
        return "\n\n".join(paragraphs)


def explain(project: Project, prediction: str) -> Explained:
    """Explain a logged prediction by the model that made it.

    Raises: ProjectError if the log or the record does not know it, or if its model is lost or not
    trusted.
    """
    import pandas as pd

    logged = _logged(project, prediction)
    record = releases.read(project)
    fingerprint = str(logged["fingerprint"][0])
    release = record.release_of_model(fingerprint)
    if release is None:
        raise ProjectError(
            f"The record does not have the model {fingerprint[:8]}, which made this prediction.",
            "Run: git fetch --tags",
        )

    folder = deploy.fetch_signed(project, record, release)
    scorer = load_signed(project, folder, str(logged["digest"][0]))
    reference = pd.read_parquet(folder / REFERENCE)
    tables = {}
    for look in project.contract.lookups:
        tables[look.name] = lookup_table(project, look, logged)
    report = explained(project.contract, scorer, reference, logged, tables)

    made = datetime.fromtimestamp(logged["at"][0], UTC)
    facts = {
        "prediction": prediction,
        "release": logged["release"][0],
        "made": f"{made:%Y-%m-%d %H:%M:%S} UTC",
    }
    report.facts = {**facts, **report.facts}
    return report


def _logged(project: Project, prediction: str) -> "pd.DataFrame":
    """The row of a prediction in this machine's log. Raises: ProjectError if it is not there."""
    from mlgates.serving import prediction_log

    logged = prediction_log.read(project, one=prediction)
    if logged.empty:
        message = f"The prediction log of this machine has no {prediction!r}."
        if tombstones.listed(project):
            message += " Rows that were erased are not in it any more."
        example = prediction_log.new_ids(1)[0]
        raise ProjectError(message, f"Each answer has its id, such as {example}")
    return logged


def explained(
    contract: Contract,
    scorer: Scorer,
    reference: "pd.DataFrame",
    logged: "pd.DataFrame",
    tables: "Mapping[str, pd.DataFrame]",
) -> Explained:
    """Explain the one row `logged`, as `serving.prediction_log` reads it.

    `reference` are rows that the model was trained on, `tables` the checked look-ups of the time.
    """
    arrays = contract.arrays(logged)
    scores = logged_scores(contract, logged)
    names = [f"feature__{name}" for name in scorer.plan.names]
    served = logged[names].to_numpy(dtype=float, na_value=np.nan)
    *feature_checks, score_check = skew.features(scorer, served, scorer.matrix(arrays), scores)
    lookup_checks = skew.looked_up(contract, logged, arrays, tables)

    decision = logged["decision"].iloc[0]
    expected = scorer.decide(scores)[0]
    if decision != expected:
        evidence = f"decided {decision}, the score says {expected}"
        score_check = replace(score_check, verdict=Verdict.FAIL, evidence=evidence)

    checks = []
    if lookup_checks:
        checks.append(_combined("explain.lookup", lookup_checks))
    checks.append(_combined("explain.features", feature_checks))
    checks.append(replace(score_check, name="explain.score"))

    gains = contributions(scorer, served[0], scorer.matrix(contract.arrays(reference)))
    shown_scores = ", ".join(f"{score:.6g}" for score in np.ravel(scores[0]))
    facts = {"decision": _cell(expected), "score": shown_scores}
    parts = [_column_table(contract, logged), _feature_table(scorer, served[0], gains)]
    return Explained("explain", checks, facts, parts=parts)


def contributions(scorer: Scorer, row: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """(k,) what each feature adds to the score of one row of (k,) features.

    `reference` are the (n, k) features of other rows. Of several classes the score is that of the
    most probable one.
    """
    others = reference[np.linspace(0, len(reference) - 1, ROWS).astype(int)]
    changed = np.tile(row, (len(row), ROWS, 1))  # (feature that is unknown, other row, feature)
    places = np.arange(len(row))
    changed[places, :, places] = others.T
    # One call scores all of them, and the row itself first: calls cost more than rows.
    scores = scorer.score(np.vstack([row[None], changed.reshape(-1, len(row))]))
    if scores.ndim > 1:
        scores = scores[:, scores[0].argmax()]
    return np.asarray(scores[0] - scores[1:].reshape(len(row), ROWS).mean(axis=1))


def _combined(name: str, checks: list[Check]) -> Check:
    """Several checks as one: it fails if any of them does.

    It is inconclusive, and not required, if none of them could be made.
    """
    verdicts = {check.verdict for check in checks}
    if verdicts == {Verdict.INCONCLUSIVE}:
        return replace(checks[0], name=name)
    reasons = []
    for check in checks:
        if check.verdict is Verdict.FAIL:
            subject = check.name.partition(".")[2]
            reasons.append(f"{subject}: {check.evidence.removeprefix('first: ')}")
    return at_most(name, len(reasons), 0, len(checks), evidence="; ".join(reasons))


def _column_table(contract: Contract, logged: "pd.DataFrame") -> Table:
    """What was requested and looked up, and how old each looked-up value was."""
    table = [["part", "column", "served", "age"]]
    for name, column in contract.feature_columns.items():
        age = ""
        age_column = f"{column.source}__age"
        if age_column in logged:
            age = _cell(logged[age_column].iloc[0])
        if age:
            age += " s"
        table.append([column.source, column.label, _cell(logged[name].iloc[0]), age])
    return table


def _feature_table(scorer: Scorer, row: np.ndarray, gains: np.ndarray) -> Table:
    """The features of one row and their contributions, the largest first."""
    table = [["feature", "served", "contribution"]]
    for place in sorted(range(len(gains)), key=lambda place: -abs(gains[place])):
        name = scorer.plan.names[place]
        value = row[place]
        categories = scorer.vocabulary.get(name)
        if categories and value == value:  # not NaN: the number of a category
            value = categories[int(value)]
        table.append([name, _cell(value), f"{gains[place]:+.4f}"])
    return table


def _cell(value: Any) -> str:
    """A value as text; empty if it is missing."""
    import pandas as pd

    if hasattr(value, "item"):  # a number of NumPy's
        value = value.item()
    if pd.isna(value):
        return ""
    return number(value) if isinstance(value, bool | int | float) else str(value)
