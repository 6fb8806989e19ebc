"""A release is made again by the interpreter that runs, if version and packages are the same."""

import platform
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from clones import Clone
from mlgates.lineage import environment
from mlgates.lineage.environment import Environment, environment_of
from mlgates.registry import releases
from mlgates.registry.releases import Release
from mlgates.trust import champion
from mlgates.verdict import Check, Verdict

LOCK = """version = 1

[[package]]
name = "numpy"
version = "{numpy}"
source = {{ registry = "https://pypi.org/simple" }}

[[package]]
name = "tiny"
version = "{others}"
source = {{ editable = "." }}

[[package]]
name = "mlgates"
version = "{others}"
source = {{ path = "mlgates.whl" }}
"""


def released(clone: Clone, python: str) -> Release:
    """The first release, as if that Python had made its model and its commit were HEAD."""
    folder = champion.model_path(clone.project, "f")
    folder.mkdir(parents=True)
    (folder / "python_env.yaml").write_text(f"python: {python}\n")
    first = releases.read(clone.project).releases[0]
    return replace(first, commit=clone.git("rev-parse", "HEAD"), fingerprint="f")


def chosen(clone: Clone, release: Release) -> tuple[Environment, Check]:
    """The environment in which the release would be made again."""
    return environment_of(clone.project, clone.project, clone.around, release)


def test_the_interpreter_that_runs_serves_a_release_of_its_version(reigning: Clone) -> None:
    found, check = chosen(reigning, released(reigning, platform.python_version()))
    assert check.verdict is Verdict.OK
    assert check.evidence == "this interpreter; the release has no uv.lock"
    assert found == Environment(Path(sys.executable).parent, library=None)


def test_versions_of_the_project_and_of_mlgates_in_the_lock_file_are_not_compared(
    reigning: Clone,
) -> None:
    """The project is in git, and mlgates is a file of the release."""
    lock = reigning.root / "uv.lock"
    lock.write_text(LOCK.format(numpy="1", others="1"))
    reigning.commit()
    release = released(reigning, platform.python_version())
    lock.write_text(LOCK.format(numpy="1", others="2"))
    _, check = chosen(reigning, release)
    assert (check.verdict, check.evidence) == (Verdict.OK, "this interpreter")


def test_another_python_without_a_lock_file_is_inconclusive_and_not_required(
    reigning: Clone,
) -> None:
    _, check = chosen(reigning, released(reigning, "3.0"))
    assert check.verdict is Verdict.INCONCLUSIVE
    assert not check.required
    assert (check.value, check.limit) == (platform.python_version(), "3.0")


def test_what_uv_cannot_make_is_inconclusive_and_says_why(
    reigning: Clone, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(environment, "_uv", lambda *_: "no interpreter of that version")
    lock = reigning.root / "uv.lock"
    lock.write_text(LOCK.format(numpy="1", others="1"))
    reigning.commit()
    release = released(reigning, platform.python_version())
    lock.write_text(LOCK.format(numpy="2", others="1"))
    _, check = chosen(reigning, release)
    assert check.verdict is Verdict.INCONCLUSIVE
    assert check.required
    assert check.evidence.endswith("cannot make the release's: no interpreter of that version")
