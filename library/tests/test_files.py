"""Files are written as a whole or not at all, and a digest sees every change."""

from pathlib import Path

import pytest

from mlgates.files import atomic, digest, write_text


def write_half(path: Path) -> None:
    with atomic(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt


def test_a_killed_writer_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_text(path, "old")
    with pytest.raises(KeyboardInterrupt):
        write_half(path)
    assert path.read_text() == "old" and len(list(tmp_path.iterdir())) == 1


def test_a_folder_takes_the_place_of_another_one_as_a_whole(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "old").write_text("")
    with atomic(folder) as temporary:
        temporary.mkdir()
        (temporary / "new").write_text("")
    assert [path.name for path in folder.iterdir()] == ["new"]
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_digest_sees_one_changed_byte_and_one_renamed_file(tmp_path: Path) -> None:
    file = tmp_path / "folder" / "a"
    file.parent.mkdir()
    file.write_bytes(b"0123")
    first = digest(file.parent)
    file.write_bytes(b"0124")
    second = digest(file.parent)
    file.rename(file.with_name("b"))
    assert len({first, second, digest(file.parent)}) == 3
