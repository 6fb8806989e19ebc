"""evaluate: measure candidate, champion and baselines on the same untouched rows, over all of them and by slice."""

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..contract import Contract
from ..project import ProjectError, command_line, cycle, digest, find_root, params, read_json, write_json, yours
from ..report import number
from ..scoring import Scorer, load, scored
from ..signing import signed
from . import metrics
from .conduct import conduct
from .groups import RESAMPLES, measure_groups, slices
from .measured import MAIN
from .pictures import draw
from .train import BASELINES, CANDIDATE, EVALUATION, HOLDOUT, measurable

if TYPE_CHECKING:
    import pandas as pd

TRIVIAL = "baseline.trivial"
LOST = {"champion": "difference", TRIVIAL: "floor"}  # what a slice calls the candidate's lead over each


def measure(
    contract: Contract, rows: "pd.DataFrame", scores: Mapping[str, np.ndarray], *, resamples: int, seed: int
) -> dict[str, Any]:
    """Measurements of several models on the same rows.

    `scores` maps "candidate", perhaps "champion", and "baseline.*" to the (n,) or (n, c) scores of `rows`. Returns
    plain data: `values`, `differences` (candidate minus the other, positive is better) by model and metric, `slices`.
    """
    target, names, parts = contract.target(rows), metrics.named(contract.task), slices(contract, rows)

    def measures(where: Any, models: Iterable[str], places: np.ndarray | None = None) -> dict[Any, metrics.Measure]:
        made = {model: metrics.measures(contract.task, target, scores[model], places) for model in models}
        return {(where, model, name): each[name] for model, each in made.items() for name in each}

    found: dict[Any, metrics.Estimate] = {**metrics.estimates(measures("", scores), len(rows), resamples, seed)}
    compared = [model for model in ("candidate", "champion", TRIVIAL) if model in scores]
    by_slice = {key: one for where, places in parts.items() for key, one in measures(where, compared, places).items()}
    if by_slice:
        found |= metrics.estimates(by_slice, len(rows), min(resamples, RESAMPLES), seed)
    values, differences = _compared(found, scores, names)
    told = []
    for where, places in parts.items():
        each, others = _compared(found, compared, names, where)
        each.pop(TRIVIAL, None)
        lost = {what: others[model] for model, what in LOST.items() if model in others}
        told.append({"column": where[0], "value": where[1], "rows": len(places), **each, **lost})
    finite = bool(all(np.isfinite(s).all() for s in scores.values()))
    return {"rows": len(rows), "finite": finite, "values": values, "differences": differences, "slices": told}


def _compared(
    found: Mapping[Any, metrics.Estimate], models: Iterable[str], names: Iterable[str], where: object = ""
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The values of some models, and by how much the candidate is better than each of the others, by metric."""
    each = {model: {name: found[where, model, name] for name in names} for model in models}
    values = {model: {name: value.plain() for name, value in part.items()} for model, part in each.items()}
    differences = {
        model: {name: each["candidate"][name].minus(value, name).plain() for name, value in part.items()}
        for model, part in each.items()
        if model != "candidate"
    }
    return values, differences


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
    scores = scored({name: models[name] for name in compared}, arrays)
    found = measure(replace(contract, slices=()), rows, scores, resamples=settings["resamples"], seed=settings["seed"])
    return {name: found[name] for name in ("rows", "values", "differences")}


def main() -> int:
    """Run the stage."""
    import pandas as pd

    root, team = find_root(), yours()
    settings, opponent = params(root)["evaluate"], cycle(root)["champion"]
    rows = measurable(pd.read_parquet(root / EVALUATION))
    models: dict[str, Scorer] = {"candidate": load(root / CANDIDATE, team.contract, team.features)}
    asked = {"outcome": team.contract.outcome.name, "task": team.contract.task, "classes": team.contract.classes}
    models |= champion(root, opponent, lambda folder: load(signed(root, folder), team.contract, team.features), **asked)
    for folder in sorted((root / BASELINES).iterdir()):
        models[f"baseline.{folder.name}"] = load(folder, team.contract, team.features)
    arrays = team.contract.arrays(rows)
    scores = scored(models, arrays)
    measured = measure(team.contract, rows, scores, resamples=settings["resamples"], seed=settings["seed"])
    facts = read_json(root / "reports" / "train.json")
    new = models["candidate"]
    measured |= {
        "groups": measure_groups(team.contract, rows, new, arrays, scores["candidate"], settings),
        "holdout": on_holdout(team.contract, pd.read_parquet(root / HOLDOUT), models, settings),
        "conduct": conduct(team, rows, models, root / CANDIDATE, settings),
        "model": digest(root / CANDIDATE),
        "opponent": opponent,
        "periods": facts["periods"],
        "task": team.contract.task,
    }
    write_json(root / "reports" / "metrics.json", measured)
    draw(root / "reports" / "pictures", team.contract, rows, scores, measured)
    main_metric = MAIN[team.contract.task]
    line = ", ".join(f"{m} {number(measured['values'][m][main_metric]['value']) or '?'}" for m in scores)
    print(f"evaluate: {len(rows):,} rows of {', '.join(facts['periods']['evaluation'])}; {main_metric}: {line}")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
