"""A model is loaded with the service's libraries alone; what it could not load is blocked."""

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from mlgates import Project, model_folder, team_code
from mlgates.evaluation import serving_environment
from mlgates.gate import serving_rules
from mlgates.verdict import Check, Verdict

LOCK = Path(sys.prefix).parent / "uv.lock"  # what the environment of these tests was made from


@pytest.fixture(scope="module")
def locked(project: Project, tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A folder with the uv.lock of the environment that runs."""
    placed = project.moved(tmp_path_factory.mktemp("locked"))
    shutil.copy(LOCK, placed.root)
    shutil.copy(LOCK.with_name("pyproject.toml"), placed.root)
    return placed


def tried(locked: Project, sample: Any, folder: Path, code: dict[str, str]) -> Check:
    """The check of the sample's model, carrying some code."""
    model_folder.save(sample.scorer, folder, locked.contract, code)
    arrays = locked.contract.arrays(sample.rows)
    return serving_rules.serving_check(
        serving_environment.measure(locked, folder, sample.scorer, arrays)
    )


def with_features(project: Project, statement: str) -> dict[str, str]:
    """The code of a release whose features.py begins with a statement more."""
    code = team_code.collected(project)
    (name,) = [name for name in code if name.endswith("/features.py")]
    return {**code, name: statement + code[name]}


def test_a_sound_model_scores_the_same_with_the_libraries_of_the_service(
    locked: Project, project: Project, sample: Any, tmp_path: Path
) -> None:
    check = tried(locked, sample, tmp_path / "model", team_code.collected(project))
    assert (check.verdict, check.value, check.rows) == (Verdict.OK, 0, serving_environment.ROWS)


def test_a_library_that_the_service_does_not_install_is_named_and_blocks(
    locked: Project, project: Project, sample: Any, tmp_path: Path
) -> None:
    code = with_features(project, "import great_expectations\n")
    check = tried(locked, sample, tmp_path / "model", code)
    assert check.verdict is Verdict.FAIL and check.effect == "block"
    assert "No module named 'great_expectations'" in check.evidence
    assert "uv add --group team-serve great_expectations" in check.evidence


def test_a_feature_that_is_computed_otherwise_in_the_service_is_counted(
    locked: Project, project: Project, sample: Any, tmp_path: Path
) -> None:
    first = next(iter(sample.scorer.plan.functions))
    argument = sample.scorer.plan.arguments[first][0]
    other = (
        "\n\nfrom importlib.util import find_spec as _find\n"
        "if _find('great_expectations') is None:\n"
        f"    def {first}({argument}): return np.arange(len({argument})) * 1.0\n"
    )
    code = team_code.collected(project)
    (name,) = [name for name in code if name.endswith("/features.py")]
    check = tried(locked, sample, tmp_path / "model", {**code, name: code[name] + other})
    assert check.verdict is Verdict.FAIL
    assert isinstance(check.value, int) and 0 < check.value <= serving_environment.ROWS


def test_without_uv_lock_it_is_inconclusive(
    empty: Project, project: Project, sample: Any, tmp_path: Path
) -> None:
    check = tried(empty, sample, tmp_path / "model", team_code.collected(project))
    assert check.verdict is Verdict.INCONCLUSIVE and "uv.lock is missing" in check.evidence


def test_what_cannot_be_installed_without_a_network_is_inconclusive(
    locked: Project, project: Project, sample: Any, tmp_path: Path
) -> None:
    placed = project.moved(tmp_path / "offline")
    shutil.copytree(locked.root, placed.root, ignore=shutil.ignore_patterns("var"))
    lock = placed.root / "uv.lock"
    name = 'name = "cloudpickle"\nversion = "'  # one of the libraries that the service needs
    assert name in lock.read_text()
    before, _, after = lock.read_text().partition(name)
    entry, end, rest = after.partition("\n[[package]]")
    entry = entry.replace("cloudpickle-", "cloudpickle-9").replace("sha256:", "sha256:0")
    lock.write_text(before + name + "9" + entry + end + rest)
    check = tried(placed, sample, tmp_path / "model", team_code.collected(project))
    assert check.verdict is Verdict.INCONCLUSIVE
    assert "uv could not install what uv.lock says" in check.evidence


def test_a_measurement_of_an_older_mlgates_is_inconclusive() -> None:
    assert serving_rules.serving_check(None).verdict is Verdict.INCONCLUSIVE
