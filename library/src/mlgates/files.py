"""Files are read with clear errors and written whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from mlgates.errors import ProjectError

if TYPE_CHECKING:
    pass


def read_yaml(path: Path) -> Any:
    """Parsed YAML. Raises: ProjectError if the file is absent or is not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"{path.name} is missing.", f"Bring it back: git checkout HEAD -- {path.name}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(
            f"{path.name} is not readable as YAML: {' '.join(str(error).split())}"
        ) from None


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file beside it, then a rename."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON in a stable form: sorted keys, NaN refused, a newline at the end."""
    write_text(
        path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False, default=str) + "\n"
    )


def read_json(path: Path, remedy: str = "Run: uv run dvc repro") -> dict[str, Any]:
    """Parsed JSON. Raises: ProjectError if absent or half-written."""
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.name} is missing.", remedy) from None
    except (json.JSONDecodeError, UnicodeDecodeError):
        stored = None
    if not isinstance(stored, dict):
        raise ProjectError(f"{path.name} is damaged.", remedy)
    return stored


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends well, and vanishes when it does not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
            path.rename(old / path.name)
            temporary.rename(path)
            shutil.rmtree(old)
        else:
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


@contextmanager
def temporary_folder(inside: Path | None = None) -> Iterator[Path]:
    """An empty folder, by default among the temporary ones of this machine.

    It is gone when the block ends, also after an error.
    """
    with tempfile.TemporaryDirectory(
        prefix="mlops-", dir=inside, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder).resolve()


def digest(path: Path, ignore: Iterable[str] = (), ignore_suffixes: tuple[str, ...] = ()) -> str:
    """SHA-256 over the sorted relative names and the bytes of all files below a folder (or of one file).

    `ignore` names files at the top of the folder that do not count, `ignore_suffixes` ends of names.
    """
    skipped = set(ignore)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if file != path else file.name
        if name in skipped or name.endswith(ignore_suffixes):
            continue
        total.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
