"""What dvc.lock says of the stages that have run, and the ids that follow from it."""

import hashlib
import json
from typing import Any

import yaml

from mlgates.errors import ProjectError
from mlgates.layout import DVC_LOCK
from mlgates.project import Project

# libyaml reads the 700 lines of a dvc.lock ten times as fast as Python does. Not every platform
# has it.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def locked(project: Project) -> str:
    """The text of dvc.lock, empty before the first run."""
    path = project.root / DVC_LOCK
    return path.read_text(encoding="utf-8") if path.exists() else ""


def stages(lock_text: str) -> dict[str, Any]:
    """The entries of dvc.lock by stage."""
    content = yaml.load(lock_text, Loader=LOADER) or {}
    return content.get("stages") or {}


def fingerprint(lock_text: str) -> str:
    """A model's id: the hash of the entry of `train` in dvc.lock, with its outputs.

    Raises: ProjectError if train has never run.
    """
    return hashed(lock_text, "train")


def measured(lock_text: str) -> str:
    """The hash of the entry of `gate` in dvc.lock, so of every number and limit that was judged.

    Raises: ProjectError if gate has never run.
    """
    return hashed(lock_text, "gate")


def hashed(lock_text: str, stage: str) -> str:
    """The SHA-256 of a stage's entry in dvc.lock, with its inputs, parameters and outputs.

    Raises: ProjectError if it has never run.
    """
    entry = stages(lock_text).get(stage)
    if not entry:
        raise ProjectError(f"dvc.lock has no entry of {stage} yet.", "Run: uv run dvc repro")
    content = json.dumps(entry, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(content.encode()).hexdigest()


def candidate_id(project: Project) -> str:
    """The id of models/candidate; empty where train has not run under DVC."""
    text = locked(project)
    return fingerprint(text) if stages(text).get("train") else ""
