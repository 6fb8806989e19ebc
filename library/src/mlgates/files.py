"""Files are read with clear errors, and written as a whole or not at all."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError


def read_yaml(path: Path) -> Any:
    """Parsed YAML. Raises: ProjectError if the file is absent or is not YAML."""
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"{path.name} is missing.", f"Bring it back: git checkout HEAD -- {path.name}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())  # the parser's message has several lines
        raise ProjectError(f"{path.name} is not readable as YAML: {reason}") from None


def write_text(path: Path, text: str) -> None:
    """Write a file as a whole or not at all: a temporary file beside it, then a rename."""
    with atomic(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON in a stable form: sorted keys, NaN refused, a newline at the end."""
    text = json.dumps(content, indent=1, sort_keys=True, allow_nan=False, default=str)
    write_text(path, f"{text}\n")


def read_json(path: Path, remedy: str = "Run: uv run dvc repro") -> dict[str, Any]:
    """A JSON object. Raises: ProjectError if the file is absent or holds anything else."""
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
def atomic(path: Path) -> Iterator[Path]:
    """Write a file or a folder as a whole or not at all.

    Yields a temporary path beside `path`. It takes the place of `path` when the block ends well;
    after an error it is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if temporary.is_dir() and path.is_dir():
            _replace_folder(path, temporary)
        else:
            temporary.replace(path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


def _replace_folder(folder: Path, new: Path) -> None:
    """Put a new folder in the place of another one.

    A rename cannot overwrite a folder that holds files. So the old one is moved aside first, which
    takes a moment, and deleted last, which may take long.
    """
    aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    folder.rename(aside / folder.name)
    new.rename(folder)
    shutil.rmtree(aside)


@contextmanager
def temporary_folder(inside: Path | None = None) -> Iterator[Path]:
    """An empty folder, which is deleted when the block ends, also after an error.

    It lies in the folder `inside`, by default among the temporary ones of this machine.
    """
    with tempfile.TemporaryDirectory(
        prefix="mlops-", dir=inside, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder).resolve()


def digest(path: Path, ignore: Iterable[str] = (), ignore_suffixes: tuple[str, ...] = ()) -> str:
    """SHA-256 over the sorted relative names and the bytes of all files in a folder, or of a file.

    `ignore` names files at the top of the folder that do not count, and `ignore_suffixes` the ends
    of such names.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    if path.is_file():
        files = [path]

    ignored_names = set(ignore)
    total = hashlib.sha256()
    for file in files:
        name = file.name if file == path else file.relative_to(path).as_posix()
        if name in ignored_names or name.endswith(ignore_suffixes):
            continue
        content = hashlib.sha256(file.read_bytes()).digest()
        total.update(name.encode() + b"\0" + content)
    return total.hexdigest()
