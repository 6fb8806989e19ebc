"""The files of a stage in dvc.lock, by path, each with its hash."""

from collections.abc import Iterable, Mapping
from typing import Any

Hashes = dict[str, str | None]


def inputs(entry: Mapping[str, Any]) -> Hashes:
    """The MD5 hashes of what a stage read, by path; `entry` is the stage's entry in dvc.lock."""
    return _hashes(entry.get("deps", []))


def outputs(entry: Mapping[str, Any]) -> Hashes:
    """The MD5 hashes of what a stage wrote, by path."""
    return _hashes(entry.get("outs", []))


def _hashes(files: Iterable[Mapping[str, Any]]) -> Hashes:
    return {file["path"]: file.get("md5") for file in files}
