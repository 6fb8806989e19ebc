"""From what evaluate tried in the service's environment to a check."""

import re
from collections.abc import Mapping
from typing import Any

from mlgates.verdict import Check, Verdict, at_most

NAME = "gate.serving_environment"
MISSING_MODULE = re.compile(r"No module named '(\w+)")
AGAIN = "Try again with: uv run dvc repro --force evaluate"


def serving_check(tried: Mapping[str, Any] | None) -> Check:
    """`gate.serving_environment`, which blocks: the service must load the model and score as we do.

    `tried` is what `evaluation.serving_environment.measure` found; None if it was not measured.
    """
    if tried is None:
        reason = "an older mlgates measured it"
        tried = {"not_tried": reason}
    if tried["not_tried"]:
        evidence = f"not tried: {tried['not_tried']} {AGAIN}"
        return Check(NAME, Verdict.INCONCLUSIVE, required=False, evidence=evidence)

    if tried["error"]:
        evidence = f"The service cannot load the model: {tried['error']}."
        module = MISSING_MODULE.search(tried["error"])
        if module:
            evidence += f" Install it there, too: uv add --group team-serve {module[1]}"
        return Check(NAME, Verdict.FAIL, required=False, evidence=evidence)

    evidence = "rows with another score under the service's libraries"
    return at_most(NAME, tried["differing"], 0, tried["rows"], evidence=evidence)
