"""The library as a file: equal bytes, a wheel by the book, and what is wrong with one is said."""

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

import pytest

from mlgates import Project, ProjectError
from mlgates.registry import wheel
from mlgates.results import RESULTS, check_results, hashed, results


def test_two_files_of_one_library_are_equal(tmp_path: Path) -> None:
    first, second = (wheel.write(tmp_path / name) for name in ("first", "second"))
    assert first.read_bytes() == second.read_bytes()


def test_record_lists_each_file_with_its_hash(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.write(tmp_path)) as archive:
        names = archive.namelist()
        (record,) = [name for name in names if name.endswith(".dist-info/RECORD")]
        rows = list(csv.reader(archive.read(record).decode().splitlines()))
        assert sorted(row[0] for row in rows) == sorted(names)
        for name, checksum, size in rows:
            if name != record:
                digest = hashlib.sha256(archive.read(name)).digest()
                assert checksum == "sha256=" + base64.urlsafe_b64encode(digest).decode().rstrip("=")
                assert int(size) == len(archive.read(name))
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_another_library_is_told_from_the_one_that_runs(tmp_path: Path) -> None:
    unpacked = wheel.unpack(wheel.write(tmp_path), tmp_path / "library")
    assert wheel.is_running(unpacked)
    (unpacked / "mlgates/cli.py").write_text("")
    assert not wheel.is_running(unpacked)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    written = wheel.write(tmp_path)
    written.write_bytes(written.read_bytes()[:1_000])
    with pytest.raises(ProjectError, match=rf"{written.name} cannot be read as a wheel"):
        wheel.unpack(written, tmp_path / "library")


def test_the_library_is_kept_alone(empty: Project) -> None:
    wheel.keep(empty)
    (kept,) = (empty.root / "models/library").iterdir()
    wheel.keep(empty)
    assert [path.name for path in (empty.root / "models/library").iterdir()] == [kept.name]


def test_a_carried_library_has_its_content_for_numbers(empty: Project) -> None:
    assert results(empty) == RESULTS
    (empty.root / "vendor/mlgates/src/mlgates").mkdir(parents=True)
    found = results(empty)
    assert found.keys() == RESULTS.keys() and found == hashed(wheel.PACKAGE)
    with pytest.raises(ProjectError, match="not the one that the project carries"):
        check_results(empty)
