"""The library as a file: the wheel of the mlgates that runs, written from its installed files.

Stage gate keeps it in models/library, so dvc.lock says which library judged a model, and promote
sends it to the DVC remote beside the model. `mlops reproduce` installs it years later, without the
git host that it came from. A bento carries it (`mlops wheel`).

No build backend and no network is needed: mlgates is pure Python, so a wheel is its files, its
metadata and a list of both in a zip.
"""

import base64
import hashlib
import zipfile
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from mlgates import tools
from mlgates.dvc_lock import locked, stages
from mlgates.errors import ProjectError
from mlgates.files import atomic, digest, write_text
from mlgates.layout import LIBRARY, UV_LOCK, WHEELS
from mlgates.project import Project

NAME = "mlgates"
PACKAGE = Path(__file__).parents[1]
COMPILED = (".pyc",)
MOMENT = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold: equal libraries are equal bytes
TAGS = "Wheel-Version: 1.0\nGenerator: mlgates\nRoot-Is-Purelib: true\nTag: py3-none-any\n"


def write(folder: Path) -> Path:
    """Write the wheel of the library that runs into a folder; returns its path.

    Raises: ProjectError if mlgates runs without being installed.
    """
    files = _files()
    installed = installation()
    folder.mkdir(parents=True, exist_ok=True)
    wheel = folder / f"{NAME}-{installed.version}-py3-none-any.whl"
    record = f"{NAME}-{installed.version}.dist-info/RECORD"
    with atomic(wheel) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            archive.writestr(_entry(name), files[name])
        archive.writestr(_entry(record), _record(files, record))
    return wheel


def keep(project: Project) -> None:
    """Keep the library that runs in models/library, an output of stage gate.

    Raises: ProjectError if mlgates runs without being installed.
    """
    with atomic(project.root / LIBRARY) as folder:
        write(folder)


def is_kept(project: Project) -> bool:
    """Whether dvc.lock names the library as an output of stage gate; older releases kept none."""
    outputs = stages(locked(project)).get("gate", {}).get("outs", [])
    return LIBRARY.as_posix() in {output["path"] for output in outputs}


def unpack(wheel: Path, folder: Path) -> Path:
    """Unpack a wheel into a folder, and return the folder: put it first on PYTHONPATH.

    Raises: ProjectError if the wheel is damaged.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)
    except (zipfile.BadZipFile, OSError) as error:
        raise ProjectError(f"{wheel.name} cannot be read as a wheel: {error}.") from None
    return folder


def is_running(unpacked: Path) -> bool:
    """Whether an unpacked wheel holds the same code as the library that runs."""
    unpacked_code = digest(unpacked / NAME, ignore_suffixes=COMPILED)
    return unpacked_code == digest(PACKAGE, ignore_suffixes=COMPILED)


def for_bento(project: Project) -> str:
    """Write `wheels/`, which `bentoml build` reads: the library as a file, and requirements.txt.

    The latter names everything that a request needs, with its version. Returns what to do next.

    Raises: ProjectError without uv or uv.lock. The old folder stays then.
    """
    pinned = _exported(project)
    with atomic(project.root / WHEELS) as folder:
        wheel = write(folder)
        write_text(folder / "requirements.txt", f"./{WHEELS.as_posix()}/{wheel.name}\n{pinned}")
    return f"A bento installs {WHEELS.as_posix()}/{wheel.name}. Build one: uv run bentoml build"


def installation() -> Distribution:
    """What is installed as mlgates: its version and metadata.

    Raises: ProjectError if mlgates is not installed.
    """
    try:
        return distribution(NAME)
    except PackageNotFoundError:
        raise ProjectError(
            "mlgates runs from a folder without being installed.", "Run: uv sync"
        ) from None


def licence() -> str:
    """The licence of the library.

    It is among the metadata, or beside the source of an editable installation; else it is empty.
    """
    stored = installation().read_text("licenses/LICENSE")
    source = PACKAGE.parents[1] / "LICENSE"
    if stored is None and source.exists():
        return source.read_text(encoding="utf-8")
    return stored or ""


def _files() -> dict[str, bytes]:
    """The content of the wheel by name, without the list of it."""
    files = {}
    for path in sorted(PACKAGE.rglob("*")):
        if path.is_file() and "__pycache__" not in path.parts:
            files[f"{NAME}/{path.relative_to(PACKAGE).as_posix()}"] = path.read_bytes()

    installed = installation()
    metadata = f"{NAME}-{installed.version}.dist-info"
    for name in ("METADATA", "entry_points.txt"):
        files[f"{metadata}/{name}"] = (installed.read_text(name) or "").encode()
    files[f"{metadata}/licenses/LICENSE"] = licence().encode()
    files[f"{metadata}/WHEEL"] = TAGS.encode()
    return files


def _record(files: dict[str, bytes], own_name: str) -> bytes:
    """RECORD: each file with its SHA-256 and its size; the list itself has neither."""
    lines = []
    for name in sorted(files):
        content = files[name]
        checksum = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{name},sha256={checksum},{len(content)}\n")
    lines.append(f"{own_name},,\n")
    return "".join(lines).encode()


def _entry(name: str) -> zipfile.ZipInfo:
    """A file in the zip: the same on each machine and at each time."""
    entry = zipfile.ZipInfo(name, MOMENT)
    entry.create_system = 3  # Unix, wherever this runs: equal bytes again
    entry.external_attr = 0o644 << 16  # the file's mode, in the place where Unix looks for it
    return entry


def _exported(project: Project) -> str:
    """The requirements of a service by uv.lock, without the project and mlgates.

    Raises: ProjectError if uv cannot read uv.lock.
    """
    if not (project.root / UV_LOCK).exists():
        raise ProjectError("uv.lock is missing: it says what a bento installs.", "Run: uv lock")
    words = [
        "uv",
        "export",
        "--quiet",
        "--frozen",
        "--no-hashes",
        "--no-header",
        "--no-annotate",
        *tools.SERVING_GROUPS,
    ]
    words += ["--no-emit-project", "--no-emit-package", NAME]
    exported = tools.run(project, *words)
    if exported.code:
        raise ProjectError(f"uv cannot read uv.lock: {exported.reason}.", "Run: uv lock")
    return exported.stdout
