"""An override: by name, for a time, for a reason, and shown until it has ended."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from clones import Clone
from mlgates.errors import ProjectError
from mlgates.files import read_json
from mlgates.registry import training_cycle
from mlgates.registry.override import Override, overriding
from mlgates.registry.promote import promote
from mlgates.registry.status import status


def in_days(days: int) -> str:
    """The day after so many days, as people write it."""
    return str(datetime.now(UTC).date() + timedelta(days))


@pytest.mark.parametrize(
    ("by", "until", "reason"),
    [
        ("", in_days(30), "x"),
        ("Grace", "soon", "x"),
        ("Grace", in_days(0), "x"),
        ("Grace", in_days(91), "x"),
        ("Grace", in_days(30), " "),
    ],
)
def test_an_override_needs_a_name_a_day_and_a_reason(by: str, until: str, reason: str) -> None:
    with pytest.raises(ProjectError) as caught:
        overriding(by, until, reason)
    assert caught.value.code == 2


def test_an_override_holds_until_the_end_of_its_day() -> None:
    for days in (90, 1):
        override = overriding("Grace", in_days(days), "x")
        assert override.days_over == -days
        assert str(override).startswith("overridden until")
    assert str(replace(override, until=in_days(0))).startswith("overridden until")
    assert str(replace(override, until=in_days(-1))).startswith("override ended")


@pytest.mark.usefixtures("no_mlflow")
def test_an_override_is_shown(ada: Clone, monkeypatch: pytest.MonkeyPatch) -> None:
    override = overriding("Grace", in_days(30), "the  season starts")
    ada.retrain(-0.2)
    message = promote(ada.project, reason="season", override=override)
    assert "fail overridden until" in message
    written = read_json(ada.root / "var/champion.json")
    assert written["override"]["reason"] == "the season starts"
    shown = f"fail overridden until {override.until}, by Grace: the season starts"
    assert shown in " ".join(status(ada.project)[0].text.split())
    longer = overriding("Grace", in_days(60), "it goes on")
    message = promote(ada.project, reason="longer", override=longer)
    assert f"fail overridden until {longer.until}" in message
    monkeypatch.setattr(Override, "days_over", property(lambda self: 2))
    assert "override ended" in status(ada.project)[0].text.partition("because")[2]
    training_cycle.close(ada.project, "3")
    cycle = (ada.root / "cycle.yaml").read_text()
    assert f"v1.0.0 (override ended {longer.until}" in cycle
