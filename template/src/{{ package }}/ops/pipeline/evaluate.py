"""evaluate: measure candidate, champion and baselines on the same untouched rows, over all of them and by slice."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Contract
from ..project import ProjectError, command_line, cycle, digest, find_root, params, read_json, write_json, yours
from ..report import number
from ..scoring import Scorer, load
from ..signing import signed
from . import metrics
from .conduct import conduct
from .groups import RESAMPLES, frequent, measure_groups, words
from .measured import MAIN
from .train import BASELINES, CANDIDATE, EVALUATION, HOLDOUT

if TYPE_CHECKING:
    import pandas as pd

TRIVIAL = "baseline.trivial"


def measure(
    contract: Contract, rows: "pd.DataFrame", scores: Mapping[str, np.ndarray], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Measurements of several models on the same rows.

    `scores` maps "candidate", perhaps "champion", and "baseline.*" to the (n,) or (n, c) scores of `rows`. Returns
    plain data: `values`, `differences` (candidate minus the other, positive is better) by model and metric, `slices`.
    """
    target = contract.target(rows)
    makers = metrics.named(contract.task)
    measures = {f"{m}/{name}": make(target, s) for m, s in scores.items() for name, make in makers.items()}
    parts, by_slice = slices(contract, rows), {}
    compared = [model for model in ("candidate", "champion", TRIVIAL) if model in scores]
    for (column, word), places in parts.items():
        for model in compared:
            for name, make in makers.items():
                part = make(target[places], scores[model][places])
                by_slice[f"{column}={word}/{model}/{name}"] = metrics.on(places, part)
    found = metrics.estimates(measures, len(rows), resamples, seed)
    found |= metrics.estimates(by_slice, len(rows), min(resamples, RESAMPLES), seed) if by_slice else {}
    others = [model for model in scores if model != "candidate"]
    return {
        "rows": len(rows),
        "finite": bool(all(np.isfinite(s).all() for s in scores.values())),
        "values": {m: {name: found[f"{m}/{name}"].plain() for name in makers} for m in scores},
        "differences": {
            m: {name: found[f"candidate/{name}"].minus(found[f"{m}/{name}"], name).plain() for name in makers}
            for m in others
        },
        "slices": [
            _slice(found, column, word, len(places), compared, list(makers)) for (column, word), places in parts.items()
        ],
    }


def slices(contract: Contract, rows: "pd.DataFrame") -> dict[tuple[str, str], np.ndarray]:
    """The positions of the rows of each slice: the most frequent values of each slice column, and of each two."""
    columns = {column: words(rows, column) for column in contract.slices}
    found = {(column, word): np.flatnonzero(has == word) for column, has in columns.items() for word in frequent(has)}
    for one, other in combinations(columns, 2):
        both = np.array([f"{a},{b}" for a, b in zip(columns[one], columns[other], strict=True)])
        for word in frequent(both):
            places = np.flatnonzero(both == word)
            parents = (found.get((column, columns[column][places[0]]), rows) for column in (one, other))
            if all(len(places) < len(parent) for parent in parents):
                found[f"{one},{other}", word] = places
    return found


def _slice(
    found: Mapping[str, metrics.Estimate],
    column: str,
    word: str,
    rows: int,
    models: Sequence[str],
    names: Sequence[str],
) -> dict[str, Any]:
    prefix = f"{column}={word}"
    entry: dict[str, Any] = {"column": column, "value": word, "rows": rows}
    for model in {*models} - {TRIVIAL}:
        entry[model] = {name: found[f"{prefix}/{model}/{name}"].plain() for name in names}
    for model, what in (("champion", "difference"), (TRIVIAL, "floor")):
        if model in models:
            pairs = {name: (found[f"{prefix}/candidate/{name}"], found[f"{prefix}/{model}/{name}"]) for name in names}
            entry[what] = {name: new.minus(old, name).plain() for name, (new, old) in pairs.items()}
    return entry


def champion(root: Path, fingerprint: str | None, load_model: Any, **asked: Any) -> dict[str, Scorer]:
    """The model to beat, as `{"champion": scorer}`.

    Nothing if there is none yet, if it reads what is barred by now, or if it predicts something else: `asked` is what
    it must have been made for (outcome, task and classes).

    Raises: ProjectError if it is named but not on this machine, or cannot be loaded.
    """
    if fingerprint is None:
        return {}
    folder = root / "var" / "models" / fingerprint
    if not folder.exists():
        raise ProjectError(f"The champion {fingerprint[:8]} is not on this machine.", "Run: uv run mlops follow")
    described = read_json(folder / "features.json", "Run: uv run mlops follow")
    if any(described[name] != value for name, value in asked.items()):
        return {}
    try:
        return {"champion": load_model(folder)}
    except ProjectError as error:
        if not str(error).startswith("features.forbidden"):
            raise
        print(f"evaluate: the champion cannot be compared with. {error}")
        return {}


def on_holdout(
    contract: Contract, rows: "pd.DataFrame", models: Mapping[str, Scorer], settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Candidate and champion on the rows that no training ever saw, in the form of `measure`; empty without rows."""
    if rows.empty:
        return {"rows": 0, "values": {}, "differences": {}}
    arrays, compared = contract.arrays(rows), [name for name in ("candidate", "champion") if name in models]
    scores = {name: models[name].score(models[name].matrix(arrays)) for name in compared}
    found = measure(replace(contract, slices=()), rows, scores, resamples=settings["resamples"], seed=settings["seed"])
    return {name: found[name] for name in ("rows", "values", "differences")}


def main() -> int:
    """Run the stage."""
    import pandas as pd

    root, team = find_root(), yours()
    settings, opponent = params(root)["evaluate"], cycle(root)["champion"]
    rows = pd.read_parquet(root / EVALUATION)
    if rows.empty:
        raise ProjectError("There is no row to evaluate on.", "Close another period: uv run mlops close")
    models: dict[str, Scorer] = {"candidate": load(root / CANDIDATE, team.contract, team.features)}
    asked = {"outcome": team.contract.outcome.name, "task": team.contract.task, "classes": team.contract.classes}
    models |= champion(root, opponent, lambda folder: load(signed(root, folder), team.contract, team.features), **asked)
    for folder in sorted((root / BASELINES).iterdir()):
        models[f"baseline.{folder.name}"] = load(folder, team.contract, team.features)
    arrays = team.contract.arrays(rows)
    scores = {name: scorer.score(scorer.matrix(arrays)) for name, scorer in models.items()}
    measured = measure(team.contract, rows, scores, resamples=settings["resamples"], seed=settings["seed"])
    facts = read_json(root / "reports" / "train.json")
    new = models["candidate"]
    measured |= {
        "groups": measure_groups(team.contract, rows, new, new.matrix(arrays), settings),
        "holdout": on_holdout(team.contract, pd.read_parquet(root / HOLDOUT), models, settings),
        "conduct": conduct(team, rows, models, root / CANDIDATE, settings),
        "model": digest(root / CANDIDATE),
        "opponent": opponent,
        "periods": facts["periods"],
        "task": team.contract.task,
    }
    write_json(root / "reports" / "metrics.json", measured)
    from .pictures import draw

    draw(root / "reports" / "pictures", team.contract, rows, scores, measured)
    main_metric = MAIN[team.contract.task]
    line = ", ".join(f"{m} {number(measured['values'][m][main_metric]['value']) or '?'}" for m in scores)
    print(f"evaluate: {len(rows):,} rows of {', '.join(facts['periods']['evaluation'])}; {main_metric}: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
