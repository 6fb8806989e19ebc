"""The library as a wheel: the same bytes each time, as the standard asks; errors name it."""

import base64
import csv
import hashlib
import zipfile
from pathlib import Path

import pytest

from mlgates import Project, ProjectError
from mlgates.files import write_json
from mlgates.registry import wheel
from mlgates.results import RESULTS, check_results, hashed, results


def test_two_files_of_one_library_are_equal(tmp_path: Path) -> None:
    first = wheel.write(tmp_path / "first")
    second = wheel.write(tmp_path / "second")
    assert first.read_bytes() == second.read_bytes()


def record_checksum(content: bytes) -> str:
    """A file's hash as RECORD holds it."""
    encoded = base64.urlsafe_b64encode(hashlib.sha256(content).digest())
    return "sha256=" + encoded.decode().rstrip("=")


def test_record_lists_each_file_with_its_hash(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.write(tmp_path)) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    (record,) = [name for name in contents if name.endswith(".dist-info/RECORD")]
    rows = list(csv.reader(contents[record].decode().splitlines()))
    assert sorted(row[0] for row in rows) == sorted(contents)
    for name, checksum, size in rows:
        if name == record:  # cannot hold a hash of itself
            continue
        assert checksum == record_checksum(contents[name])
        assert int(size) == len(contents[name])


def test_no_compiled_file_is_in_a_wheel(tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel.write(tmp_path)) as archive:
        names = archive.namelist()
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_another_library_is_distinguished_from_the_running_one(tmp_path: Path) -> None:
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


@pytest.mark.parametrize(
    ("written", "kept"), [("models/library", True), ("reports/gate.json", False)]
)
def test_the_library_is_kept_where_dvc_lock_names_it(
    empty: Project, written: str, kept: bool
) -> None:
    write_json(empty.root / "dvc.lock", {"stages": {"gate": {"outs": [{"path": written}]}}})
    assert wheel.is_kept(empty) is kept


def test_a_carried_library_has_its_content_for_numbers(empty: Project) -> None:
    assert results(empty) == RESULTS
    (empty.root / "vendor/mlgates/src/mlgates").mkdir(parents=True)
    hashes = results(empty)
    assert hashes.keys() == RESULTS.keys()
    assert hashes == hashed(wheel.PACKAGE)
    with pytest.raises(ProjectError, match="not the one that the project carries"):
        check_results(empty)
