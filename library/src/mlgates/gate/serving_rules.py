"""From what evaluate tried in the service's environment to a check."""

import re
from collections.abc import Mapping
from typing import Any

from mlgates.verdict import Check, Verdict

NAME = "gate.serving_environment"
MISSING_MODULE = re.compile(r"No module named '(\w+)")
AGAIN = "Try again with: uv run dvc repro --force evaluate"


def judge(tried: Mapping[str, Any] | None) -> Check:
    """`gate.serving_environment`, which blocks: the service must load the model and score as we do.

    `tried` is what `evaluation.serving_environment.measure` found; None if it was not measured.
    """
    if tried is None or tried["not_tried"]:
        reason = tried["not_tried"] if tried else "an older mlgates measured it"
        evidence = f"not tried: {reason} {AGAIN}"
        return Check(NAME, Verdict.INCONCLUSIVE, required=False, evidence=evidence)

    if tried["error"]:
        evidence = f"The service cannot load the model: {tried['error']}."
        module = MISSING_MODULE.search(tried["error"])
        if module:
            evidence += f" Install it there, too: uv add --group team-serve {module[1]}"
        return Check(NAME, Verdict.FAIL, required=False, evidence=evidence)

    verdict = Verdict.FAIL if tried["differing"] else Verdict.OK
    evidence = "rows with another score under the service's libraries"
    return Check(NAME, verdict, tried["differing"], 0, rows=tried["rows"], evidence=evidence)
