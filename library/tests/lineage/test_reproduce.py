"""A release is rebuilt in a clean clone."""

import os
from pathlib import Path

from mlgates import Project
from mlgates.lineage import reproduce
from mlgates.registry.git import git


def test_a_project_in_a_subfolder_is_cloned_with_it(tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    (repository / "here").mkdir(parents=True)
    (repository / "here/dvc.yaml").write_text("stages: {}\n")
    git(repository, "init", "--quiet")
    git(repository, "add", "-A")
    who = ("-c", "user.name=ada", "-c", "user.email=ada@example.org")
    git(repository, *who, "commit", "--quiet", "-m", "first")
    project = Project(repository / "here", "tiny")
    with reproduce.clean(project, "HEAD") as (work, base):
        assert (work.root / "dvc.yaml").exists()
        assert work.root.is_relative_to(base)
        assert os.environ["MLOPS_ROOT"] == str(work.root)
