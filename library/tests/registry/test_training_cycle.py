"""`mlops close`: the next cycle takes the next period and the present champion."""

from pathlib import Path

import pytest

from clones import Clone, refusal
from mlgates import Project
from mlgates.registry import releases
from mlgates.registry.training_cycle import _with_value, close, next_period


def test_close_names_the_next_period_and_the_champion(reigning: Clone) -> None:
    project = reigning.project
    champion = releases.champion(project, "champion")
    assert champion is not None
    assert "cycle goes until 3, against tiny@v1.0.0" in close(project)
    assert (reigning.root / "cycle.yaml").read_text().splitlines() == [
        "# the cycle",
        'until: "3"  # the last period',
        f'champion: "{champion.release.fingerprint}"',
        'release: "v1.0.0"',
        "age: 1",
    ]
    assert "not committed" in refusal(close, project)
    reigning.commit()
    assert "no period '9'" in refusal(close, project, "9")
    assert "2 is closed" in refusal(close, project, "2")
    close(project, "5")
    reigning.commit()
    assert "There is no period after 5 yet" in refusal(close, project)


@pytest.mark.parametrize(
    ("until", "expected"), [(None, "3"), ("1", "2"), ("2", "3"), ("3", None), ("9", None)]
)
def test_the_first_cycle_takes_as_many_periods_as_training_needs(
    tmp_path: Path, until: str | None, expected: str | None
) -> None:
    (tmp_path / "params.yaml").write_text("train: {periods: 2}\n")
    project = Project(tmp_path, "tiny")
    assert next_period(project, until, ["1", "2", "3"]) == expected
    assert next_period(project, None, ["1", "2"]) is None


def test_a_name_that_cycle_yaml_lacks_is_added() -> None:
    assert _with_value("# a\nb: 1 # why\n", "age", "0") == "# a\nb: 1 # why\nage: 0\n"
