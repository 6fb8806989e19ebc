"""Golden numbers.

What the pipeline gives for the sample of each task, and which planted faults `mlops prove` catches.

A number may change only on purpose. The group of stages that it belongs to moves its number in
`RESULTS` of mlgates.results and in template/pyproject.toml.jinja, the changelog gives the reason
(docs/changing.md), and the file is written again: `python -m scripts.goldens`. tests/test_run.py
and tests/test_rows.py compare fresh runs with the files.
"""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from .projects import FLIGHTS, LIBRARY, ROOT, git

GOLDENS = ROOT / "tests" / "goldens"
GROUPS = {  # each number of RESULTS, and the reports that it stands for
    "data": ["validate"],
    "training": ["train", "tuning", "features", "age"],
    "evaluation": ["metrics"],
    "gate": ["gate"],
}
OF_THE_MACHINE = {  # speed, memory and dates
    *("seconds", "milliseconds_1", "milliseconds_100", "memory", "measured"),
    *("microseconds", "batch_microseconds", "lookup_microseconds"),
}
WITH_ID = {
    "gate.title",
    "gate.facts.id",
}  # the model's id, which depends on what the machine measured
SPEEDS = re.compile(r"gate\.(feature_cost|latency|memory)")  # checks whose value is the machine's
NOT_NUMBERS = {
    "checks",
    "warnings",
    "drift",
    "error",
    "limit",
    "required",
    "evidence",
    "definition",
    "content",
}
CLOSE = 1e-6  # relative: another processor may round a sum otherwise
# The linear baseline is fitted by steps that end at a tolerance. Another processor's kernels take
# other steps: without AVX-512 the AUC of the multiclass sample is 0.0002 lower, and a bound of its
# interval differs by up to 0.0006.
BY_STEPS = re.compile(r"baseline\.simple|behavior\.excess|gate\.calibration")
CLOSE_BY_STEPS = 2e-3

Golden = dict[str, Any]


def numbers() -> dict[str, int]:
    """`RESULTS` of the library, read without importing it."""
    tree = ast.parse((LIBRARY / "src/mlgates/results.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "RESULTS" and node.value:
            return dict(ast.literal_eval(node.value))
    raise AssertionError("results.py has no RESULTS")


def flat(content: Any, name: str) -> Iterator[tuple[str, Any]]:
    """The numbers of a report by their place in it.

    An estimate is one entry: its value and its interval.
    """
    if isinstance(content, list):
        for place, value in enumerate(content):
            yield from flat(value, f"{name}.{place}")
    elif isinstance(content, dict) and "interval" in content:
        yield name, [content["value"], *(content["interval"] or ())]
    elif isinstance(content, dict):
        for key, value in content.items():
            inner = f"{name}.{key}"
            if key not in OF_THE_MACHINE | NOT_NUMBERS and inner not in WITH_ID:
                yield from flat(value, inner)
    else:
        yield name, content


def judged(report: dict[str, Any], name: str) -> Iterator[tuple[str, Any]]:
    """The verdict of each check of a report, and its value where that is not the machine's."""
    for kind in ("checks", "warnings", "drift"):
        for check in report.get(kind, []):
            value = None if SPEEDS.match(check["name"]) else check.get("value")
            yield f"{name}.{kind}.{check['name']}", [check["verdict"], value]


def measured(folder: Path) -> Golden:
    """The golden numbers of a project that was trained."""
    found: Golden = {"results": numbers()}
    for group, reports in GROUPS.items():
        entries: dict[str, Any] = {}
        for report in reports:
            files = sorted((folder / "reports").glob(f"{report}.json"))
            if not files:  # a folder of reports
                files = sorted((folder / "reports" / report).glob("*.json"))
            for path in files:
                content = json.loads(path.read_text())
                entries |= dict(judged(content, report))
                entries |= dict(flat(content, report))
        assert entries, f"{group} has no report"
        found[group] = entries
    return found


def caught(folder: Path) -> dict[str, list[str]]:
    """What `mlops prove` has shown in a project, healthy runs too.

    By fault: what became of it, and which check must catch it.
    """
    proof = json.loads((folder / "var/prove/latest.json").read_text())
    faults = {}
    for line in proof["lines"]:
        is_healthy_run = line["result"] in ("quiet", "FALSE ALARM")
        check = "" if is_healthy_run else line["expectation"]
        faults[line["subject"]] = [line["result"], check]
    return faults


def same(then: Any, now: Any, close: float = 0.0) -> bool:
    """Whether two entries agree, but for the last bits of a number, or for `close`."""
    if isinstance(then, list) and isinstance(now, list):
        if len(then) != len(now):
            return False
        return all(same(old, new, close) for old, new in zip(then, now, strict=True))
    if isinstance(then, float) and isinstance(now, int | float):
        return abs(then - now) <= max(close, CLOSE * max(abs(then), abs(now), 1e-3))
    return bool(then == now)


def differing(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """The entries of a group that differ, in words."""
    changes = []
    for name in sorted({*then, *now}):
        close = CLOSE_BY_STEPS if BY_STEPS.search(name) else 0.0
        if not same(then.get(name), now.get(name), close):
            changes.append(f"{name}: {then.get(name)} -> {now.get(name)}")
    return changes


def stored(row: str) -> Golden:
    """The golden file of a row of answers."""
    content: Golden = json.loads((GOLDENS / f"{row}.json").read_text())
    return content


def hold(row: str, folder: Path) -> None:
    """Compare a trained project with its golden file.

    Raises: AssertionError that says which number has to move.
    """
    then, now = stored(row), measured(folder)
    for group in GROUPS:
        changed = differing(then[group], now[group])
        assert not changed, "\n".join(
            [
                f"{len(changed)} numbers of {group!r} are not those of tests/goldens/{row}.json.",
                f"If that is meant: raise {group!r} in RESULTS "
                "(library/src/mlgates/results.py) and in",
                "template/pyproject.toml.jinja, give the reason in CHANGELOG.md, "
                "run: python -m scripts.goldens",
                *changed[:20],
            ]
        )


def hold_faults(row: str, folder: Path, *, whole: bool) -> None:
    """Compare what `mlops prove` has shown in a project with the golden file.

    Of a fast run, only those faults are compared that it planted.
    """
    then, now = stored(row)["faults"], caught(folder)
    assert len(now) > 50, "the proof was not read"
    planted = then
    if not whole:
        planted = {name: then[name] for name in now if name in then}
    changed = differing(planted, now)
    assert not changed, "\n".join(
        [
            "What mlops prove shows has changed; if that is meant: python -m scripts.goldens",
            *changed,
        ]
    )


def moved_without_number(before: Golden, after: Golden) -> list[str]:
    """The groups whose entries changed though their number did not grow.

    Compared are two versions of a golden file.
    """
    groups = []
    for group in GROUPS:
        changed = differing(before.get(group, {}), after[group])
        number_grew = after["results"][group] > before["results"].get(group, 0)
        if changed and not number_grew:
            groups.append(group)
    return groups


def versions(path: Path) -> list[Golden]:
    """The last two different versions of a golden file; or fewer.

    That of the work tree comes first, then the one before.
    """
    found = [json.loads(path.read_text())]
    name = path.relative_to(ROOT).as_posix()
    for commit in git(ROOT, "log", "--max-count=3", "--format=%H", "--", name).split():
        if git(ROOT, "ls-tree", commit, "--", name):
            content = json.loads(git(ROOT, "show", f"{commit}:{name}"))
            if content != found[-1]:
                found.append(content)
    return found[:2]


@pytest.mark.parametrize("row", FLIGHTS)
def test_goldens_are_stored_for_the_numbers_of_the_library(row: str) -> None:
    assert stored(row)["results"] == numbers()


def test_the_template_names_the_numbers_of_the_library() -> None:
    text = (ROOT / "template/pyproject.toml.jinja").read_text()
    section = text.partition("[tool.mlgates.results]\n")[2].partition("\n\n")[0]
    assert tomllib.loads(section) == numbers()


@pytest.mark.parametrize("row", FLIGHTS)
def test_a_golden_moves_only_with_its_number_and_a_reason_in_the_changelog(row: str) -> None:
    newest, *older = versions(GOLDENS / f"{row}.json")
    for before in older:
        assert moved_without_number(before, newest) == []
    changelog = (ROOT / "CHANGELOG.md").read_text()
    for group, number in newest["results"].items():
        if number > 1:
            assert re.search(rf"`{group} = {number}`: \w+", changelog), (
                "CHANGELOG.md does not say why the results changed: "
                f"add a line with `{group} = {number}`: reason"
            )


def test_a_changed_number_is_seen_and_names_its_group(tmp_path: Path) -> None:
    before = stored(FLIGHTS[0])
    after = json.loads(json.dumps(before))
    name = "metrics.values.candidate.log_loss"
    after["evaluation"][name][0] += 0.001
    assert moved_without_number(before, after) == ["evaluation"]
    after["results"]["evaluation"] += 1
    assert moved_without_number(before, after) == []
    assert len(differing(before["evaluation"], after["evaluation"])) == 1


def test_only_the_linear_baseline_may_differ_by_more_than_rounding() -> None:
    before, after = [0.7019, 0.69, 0.71], [0.7024, 0.69, 0.71]
    baseline = "metrics.values.baseline.simple.accuracy"
    assert differing({baseline: before}, {baseline: after}) == []
    candidate = "metrics.values.candidate.auc"
    assert differing({candidate: before}, {candidate: after}) != []
    assert differing(
        {"gate.checks.gate.baseline.simple": ["ok", 0.018]},
        {"gate.checks.gate.baseline.simple": ["ok", 0.021]},
    )


def test_goldens_hold_the_verdict_of_every_report_and_no_time() -> None:
    for row in FLIGHTS:
        golden = stored(row)
        assert golden["gate"]["gate.verdict"] == "ok" and golden["data"]["validate.verdict"] == "ok"
        assert len(golden["training"]["train.model"]) == 64
        for group in GROUPS:
            times = [name for name in golden[group] if "seconds" in name]
            assert [name for name in times if "gate." not in name] == []
        for name, (result, _) in golden["faults"].items():
            assert result not in ("ESCAPED", "FALSE ALARM"), name
