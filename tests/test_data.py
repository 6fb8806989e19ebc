"""The data gate on real months: poison is caught by name, healthy months are quiet."""

import json
from collections.abc import Callable

from .projects import DEFAULT, ROOT, Project


def test_poison_in_real_months_is_caught_by_name_and_healthy_ones_are_quiet(
    make: Callable[[str], Project],
) -> None:
    project = make(DEFAULT)
    printed = project.run("python", str(ROOT / "benchmarks/months.py"), "2013-05")
    found = json.loads(printed.strip().splitlines()[-1])
    assert found["months"] == 2
    assert [name for name in found["red"] if not name.startswith("drift.")] == []
    caught = dict(found["caught"])
    caught.pop("3 % of a slice's outcomes", None)
    assert len(caught) == 3, caught
    for hit, planted in caught.values():
        assert hit == planted, caught
