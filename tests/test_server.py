"""A real server gives the same record.

MLflow over HTTP on PostgreSQL, its artifacts and the DVC remote on an S3 API.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

from .projects import Project, clean, commit, copy, environment, git

PACKAGES = (
    "boto3",
    "dvc-s3>=3.2,<4",
    "moto[server]>=5,<6",
    "pgserver>=0.1.4",
    "psycopg2-binary>=2.9",
)
SMALL = """
validate: {}
train: {}
model: {max_iter: 80}
evaluate: {resamples: 40, ablation_rows: 0, tune_trials: 1, tune_rows: 1000}
gate: {margin: 0.5, slice_margin: 1.0}
"""  # nobody is so much better: only an override promotes


class Servers:
    """The servers of tests/servers.py; `settings` is what a project needs to find them."""

    def __init__(self, programs: Path) -> None:
        script = Path(__file__).with_name("servers.py")
        words = [str(programs / "python"), str(script)]
        self.process = subprocess.Popen(
            words,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env=clean(),
        )
        self.settings = self._read()

    def _read(self) -> dict[str, str]:
        assert self.process.stdout
        found: dict[str, str] = json.loads(self.process.stdout.readline() or "{}")
        assert found, "the servers did not start"
        return found

    def renew(self) -> None:
        """Replace MLflow's database by an empty one."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._read()

    def ask(
        self, path: str, body: dict[str, Any] | None = None, method: str = ""
    ) -> dict[str, Any]:
        """MLflow's REST API: no client of ours."""
        data = None if body is None else json.dumps(body).encode()
        url = f"{self.settings['MLFLOW_TRACKING_URI']}/api/2.0/mlflow/{path}"
        verb = method or ("GET" if body is None else "POST")
        with urlopen(
            Request(url, data, {"Content-Type": "application/json"}, method=verb), timeout=60
        ) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def champion(self) -> str:
        """The release that MLflow shows as champion."""
        answer = self.ask("registered-models/alias?name=late-flights&alias=champion")
        tags = answer["model_version"]["tags"]
        return next(str(tag["value"]) for tag in tags if tag["key"] == "release")

    def runs(self) -> list[dict[str, str]]:
        """The tags of all runs."""
        experiments = self.ask("experiments/search", {"max_results": 100})["experiments"]
        (experiment,) = [entry for entry in experiments if entry["name"] == "late-flights"]
        wanted = {"experiment_ids": [experiment["experiment_id"]], "max_results": 1000}
        return [tags_of(run) for run in self.ask("runs/search", wanted)["runs"]]


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    """The tags of a run, by name."""
    return {tag["key"]: tag["value"] for tag in run["data"]["tags"]}


@pytest.fixture(scope="module")
def equipped(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that has the servers, too."""
    pyproject = (
        copy(template, tmp_path_factory.mktemp("equipped") / "late-flights") / "pyproject.toml"
    )
    team = "".join(f'    "{package}",\n' for package in PACKAGES)
    text = pyproject.read_text().replace("\nteam = [\n", f"\nteam = [\n{team}", 1)
    pyproject.write_text(text)
    return environment(pyproject)


@pytest.fixture(scope="module")
def servers(equipped: Path) -> Iterator[Servers]:
    """All servers, on free ports.

    They end with standard input, also when this process is killed.
    """
    started = Servers(equipped)
    before = dict(os.environ)
    os.environ |= started.settings
    yield started
    os.environ.clear()
    os.environ |= before
    assert started.process.stdin
    started.process.stdin.close()
    started.process.wait(60)


@pytest.fixture(scope="module")
def first(
    servers: Servers, equipped: Path, template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Project:
    """A project after its first day.

    Its git remote is a bare repository and its DVC remote is a bucket.
    """
    project = Project(copy(template, tmp_path_factory.mktemp("server") / "late-flights"), equipped)
    (project.folder / "params.yaml").write_text(SMALL)
    project.run("dvc", "remote", "add", "--default", "bucket", "s3://dvc/late-flights")
    commit(project.folder, "Small, on servers")
    git(project.folder.parent, "clone", "--quiet", "--bare", str(project.folder), "origin.git")
    git(project.folder, "remote", "add", "origin", str(project.folder.parent / "origin.git"))
    project.run("mlops", "up", "--no-serve")
    git(project.folder, "push", "--quiet", "--set-upstream", "origin", "main")
    return project


def machine(first: Project, name: str) -> Project:
    """A fresh clone: nothing but git, and the addresses in the environment."""
    git(first.folder.parent, "clone", "--quiet", "origin.git", name)
    return Project(first.folder.parent / name, first.programs)


def trained(project: Project, iterations: int) -> subprocess.Popen[str]:
    """A training with other parameters, begun."""
    (project.folder / "params.yaml").write_text(
        SMALL.replace("max_iter: 80", f"max_iter: {iterations}")
    )
    return project.start("dvc", "repro", "--pull")


def done(*started: subprocess.Popen[str]) -> None:
    """All of them end well."""
    for process in started:
        printed, complaints = process.communicate()
        assert process.returncode == 0, printed + complaints


def kept(project: Project, branch: str) -> None:
    """Committed and pushed to a branch of its own."""
    git(project.folder, "switch", "--quiet", "--create", branch)
    commit(project.folder, branch)
    git(project.folder, "push", "--quiet", "--set-upstream", "origin", branch)


def test_the_first_day_is_on_the_servers(servers: Servers, first: Project) -> None:
    assert servers.champion() == "v1.0.0"
    assert not (first.folder / "mlflow.db").exists()
    assert not any((first.folder / "var").glob("remote/*"))
    (model,) = [tags for tags in servers.runs() if "fingerprint" in tags]
    assert model["release"] == "v1.0.0" and model["verdict"] == "ok"
    assert [tags for tags in servers.runs() if "mlflow.parentRunId" in tags]
    # The raw columns, as a notebook has them.
    rows = "pandas.read_parquet('data/evaluation.parquet').head(3)"
    loaded = "mlflow.pyfunc.load_model('models:/late-flights@champion')"
    code = f"import mlflow, pandas; print(len({loaded}.predict({rows})))"
    assert first.run("python", "-c", code).split()[0] == "3"


def test_a_fresh_clone_follows_what_the_bucket_keeps(servers: Servers, first: Project) -> None:
    other = machine(first, "served")
    assert "v1.0.0" in other.run("mlops", "follow")
    pointer = json.loads((first.folder / "var/champion.json").read_text())
    assert json.loads((other.folder / "var/champion.json").read_text()) == pointer


def test_two_trainings_at_once_and_a_promotion_during_a_training_lose_nothing(
    servers: Servers, first: Project
) -> None:
    ada, bob = machine(first, "ada"), machine(first, "bob")
    ada.run("mlops", "close", "2013-04")
    ada.run("mlops", "follow")
    done(trained(ada, 90), trained(bob, 70))
    kept(ada, "ada")
    meanwhile = trained(bob, 60)
    override = ("--override", "--by", "ada", "--until", str(date.today() + timedelta(30)))
    assert "v1.1.0 is champion now" in ada.run(
        "mlops", "promote", *override, "--reason", "while bob trains"
    )
    done(meanwhile)
    kept(bob, "bob")
    refused = bob.run("mlops", "promote", "--reason", "too late", code=1)
    assert "The gate compared with no champion. v1.1.0 is champion now" in refused
    assert servers.champion() == "v1.1.0" and "v1.1.0" in bob.run("mlops", "status")
    fingerprints = [tags["fingerprint"] for tags in servers.runs() if "fingerprint" in tags]
    assert len(fingerprints) == 4
    assert len(set(fingerprints)) == 4
    ada.run("mlops", "rollback", "--reason", "complaints")
    assert servers.champion() == "v1.0.0"


def test_a_store_that_was_lost_is_filled_again(servers: Servers, first: Project) -> None:
    servers.renew()
    assert "2 versions added, 1 aliases set" in first.run("mlops", "mirror")
    assert servers.champion() == "v1.0.0"
    servers.ask("model-versions/delete", {"name": "late-flights", "version": "1"}, "DELETE")
    assert "1 versions added, 1 aliases set" in first.run("mlops", "mirror")
    assert servers.champion() == "v1.0.0"
    code = (
        "import mlflow; print(mlflow.sklearn.load_model("
        "'models:/late-flights@champion').n_features_in_)"
    )
    assert int(first.run("python", "-c", code).split()[0]) > 5
