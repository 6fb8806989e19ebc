"""What can be set: the defaults of `defaults.yaml`, overridden by the project's `params.yaml`; and the cycle."""

from collections.abc import Iterable
from datetime import date
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError, nearest
from mlgates.files import read_yaml
from mlgates.layout import CYCLE, PARAMS

DEFAULTS = Path(__file__).with_name("defaults.yaml")
AT_LEAST_ONE = {("train", "periods"), ("train", "max_rows"), ("evaluate", "resamples"), ("serve", "max_rows")}


def waiver(written: object, known: Iterable[str], where: str, what: str) -> tuple[str, date]:
    """The name and the last day of `NAME until 2027-01-31`. Raises: ProjectError if either is none."""
    name, _, day = str(written).partition(" until ")
    if name not in known:
        raise ProjectError(f"{where} names {name!r}, which is no {what}.", nearest(name, known))
    try:
        return name, date.fromisoformat(day)
    except ValueError:
        message = f"{where} has {written!r}, which names no last day."
        raise ProjectError(message, f"Write it like: {name} until 2027-01-31") from None


def params(root: Path) -> dict[str, Any]:
    """`defaults.yaml` overridden by the `params.yaml` in `root`.

    Section `model` is the team's and may hold any name. Raises: ProjectError for an unknown section or name, naming the
    nearest known one, or for another type of value.
    """
    merged: dict[str, Any] = read_yaml(DEFAULTS)
    given = read_yaml(root / PARAMS) or {}
    if not isinstance(given, dict):
        raise ProjectError("params.yaml must hold sections with names and values.")
    for section, values in given.items():
        if section == "model":
            merged[section] = values or {}
            continue
        if section not in merged:
            raise ProjectError(f"params.yaml: there is no section {section!r}.", nearest(str(section), merged))
        if values is not None and not isinstance(values, dict):
            raise ProjectError(f"params.yaml: section {section!r} must hold names and values.")
        for name, value in (values or {}).items():
            _override(merged[section], section, name, value)
    return merged


def _override(known: dict[str, Any], section: str, name: str, value: Any) -> None:
    if name not in known:
        raise ProjectError(f"params.yaml: {section}.{name} is not a parameter.", nearest(str(name), known))
    default = known[name]
    kinds = (int, float) if isinstance(default, float) else type(default)
    if default is not None and (not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)):
        raise ProjectError(f"params.yaml: {section}.{name} is {value!r}, but {type(default).__name__} is expected.")
    if isinstance(value, int | float) and value < 0:
        raise ProjectError(f"params.yaml: {section}.{name} is {value}, but must not be negative.")
    if (section, name) in AT_LEAST_ONE and value < 1:
        raise ProjectError(f"params.yaml: {section}.{name} is {value}, but at least 1 is needed.")
    known[name] = value


def cycle(root: Path) -> dict[str, Any]:
    """`cycle.yaml`: `until`, the last closed period; `champion`, `release` and `age` of the model to beat.

    These are its fingerprint, its name (both null before the first one) and how many periods its data are behind.
    Raises: ProjectError if a key is missing.
    """
    stored = read_yaml(root / CYCLE)
    if not isinstance(stored, dict) or {"until", "champion", "release", "age"} - set(stored):
        raise ProjectError(
            "cycle.yaml must name until, champion, release and age.", "Write it again: uv run mlops close"
        )
    return {**stored, "until": None if stored["until"] is None else str(stored["until"])}
