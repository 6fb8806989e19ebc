"""Where the project is, what its parameters are, and how its files are written: safely, or not at all."""

import difflib
import errno
import gc
import hashlib
import importlib
import importlib.util
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import date
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from .contract import Contract

AT_LEAST_ONE = {("train", "periods"), ("train", "max_rows"), ("evaluate", "resamples"), ("serve", "max_rows")}
RETIRED = {
    (section, "max_age_periods"): "derived from the staleness curve (reports/age.json, gate.staleness_margin)"
    for section in ("gate", "monitor")
}
PACKAGE = __package__.partition(".")[0]
UNWRITABLE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES)
SETTINGS = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "OMP_WAIT_POLICY": "passive",
}


class ProjectError(Exception):
    """A user's mistake or a missing piece: shown as one sentence and a remedy, never as a traceback."""

    def __init__(self, message: str, remedy: str = "", code: int = 1) -> None:
        super().__init__(f"{message}\n  {remedy}" if remedy else message)
        self.code = code


def quiet_tools() -> None:
    """Turn every tool's telemetry off and let OpenMP wait passively; to be called before the tools are imported."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def find_root() -> Path:
    """The project's folder: `MLOPS_ROOT`, else the first one upwards that holds `dvc.yaml` and its companions.

    Raises: ProjectError outside of a project.
    """
    if named := os.environ.get("MLOPS_ROOT"):
        return Path(named).resolve()
    here = Path.cwd().resolve()
    for folder in [here, *here.parents]:
        if (folder / "dvc.yaml").exists() and any(
            (folder / name).exists() for name in ("cycle.yaml", "pyproject.toml")
        ):
            return folder
    raise ProjectError(f"{here} is not inside a project.", "Change into the folder that holds dvc.yaml and cycle.yaml.")


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint for a name that is not known, empty when nothing is close."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f"Did you mean {close[0]!r}?" if close else f"Known: {', '.join(sorted(known))}."


def waiver(written: object, known: Iterable[str], where: str, what: str) -> tuple[str, date]:
    """The name and the last day of `NAME until 2027-01-31`. Raises: ProjectError if either is none."""
    name, _, day = str(written).partition(" until ")
    if name not in known:
        raise ProjectError(f"{where} names {name!r}, which is no {what}.", nearest(name, known))
    try:
        return name, date.fromisoformat(day)
    except ValueError:
        told = f"{where} has {written!r}, which names no last day."
        raise ProjectError(told, f"Write it like: {name} until 2027-01-31") from None


def read_yaml(path: Path) -> Any:
    """Parsed YAML. Raises: ProjectError if the file is absent or is not YAML."""
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(f"{path.name} is missing.", f"Bring it back: git checkout HEAD -- {path.name}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ProjectError(f"{path.name} is not readable as YAML: {' '.join(str(error).split())}") from None


def params(root: Path) -> dict[str, Any]:
    """`ops/defaults.yaml` overridden by `params.yaml`. Section `model` is the team's and may hold any name.

    Raises: ProjectError for an unknown section or name, naming the nearest known one, or for another type of value.
    """
    merged: dict[str, Any] = read_yaml(Path(__file__).with_name("defaults.yaml"))
    given = read_yaml(root / "params.yaml") or {}
    if not isinstance(given, dict):
        raise ProjectError("params.yaml must hold sections with names and values.")
    for section, values in given.items():
        if section == "model":
            merged[section] = values or {}
            continue
        if section not in merged:
            raise ProjectError(f"params.yaml: there is no section {section!r}.", nearest(str(section), merged))
        if values is not None and not isinstance(values, dict):
            raise ProjectError(f"params.yaml: section {section!r} must hold names and values.")
        for name, value in (values or {}).items():
            _override(merged[section], section, name, value)
    return merged


def _override(known: dict[str, Any], section: str, name: str, value: Any) -> None:
    if now := RETIRED.get((section, name)):
        raise ProjectError(f"params.yaml: {section}.{name} is retired: it is {now}.", "Remove the line.")
    if name not in known:
        raise ProjectError(f"params.yaml: {section}.{name} is not a parameter.", nearest(str(name), known))
    default = known[name]
    kinds = (int, float) if isinstance(default, float) else type(default)
    if default is not None and (not isinstance(value, kinds) or isinstance(value, bool) != isinstance(default, bool)):
        raise ProjectError(f"params.yaml: {section}.{name} is {value!r}, but {type(default).__name__} is expected.")
    if isinstance(value, int | float) and value < 0:
        raise ProjectError(f"params.yaml: {section}.{name} is {value}, but must not be negative.")
    if (section, name) in AT_LEAST_ONE and value < 1:
        raise ProjectError(f"params.yaml: {section}.{name} is {value}, but at least 1 is needed.")
    known[name] = value


def cycle(root: Path) -> dict[str, Any]:
    """`cycle.yaml`: `until`, the last closed period; `champion`, `release` and `age` of the model to beat.

    These are its fingerprint, its name (both null before the first one) and how many periods its data are behind.
    Raises: ProjectError if a key is missing.
    """
    stored = read_yaml(root / "cycle.yaml")
    if not isinstance(stored, dict) or {"until", "champion", "release", "age"} - set(stored):
        raise ProjectError(
            "cycle.yaml must name until, champion, release and age.", "Write it again: uv run mlops close"
        )
    return {**stored, "until": None if stored["until"] is None else str(stored["until"])}


class Yours:
    """The team's four files, each imported when it is first needed.

    Raises: ProjectError if a file cannot be imported, with file and reason.
    """

    @cached_property
    def contract(self) -> "Contract":
        """`contract` of schema.py."""
        found: Contract | None = getattr(_imported("schema"), "contract", None)
        if found is None:
            raise ProjectError(
                f"src/{PACKAGE}/schema.py does not define `contract`.", "See docs/handbook.md, The contract."
            )
        return found

    @cached_property
    def data(self) -> ModuleType:
        """data.py."""
        return _imported("data")

    @cached_property
    def features(self) -> ModuleType:
        """features.py."""
        return _imported("features")

    @cached_property
    def model(self) -> ModuleType:
        """model.py."""
        return _imported("model")


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(f"{PACKAGE}.{name}")
    except ProjectError:
        raise
    except Exception as error:
        path = f"src/{PACKAGE}/{name.replace('.', '/')}.py"
        raise ProjectError(f"{path} cannot be imported: {type(error).__name__}: {error}") from error


def yours() -> Yours:
    """The team's four files."""
    return Yours()


def custom(name: str) -> ModuleType | None:
    """The team's own `custom/<name>.py`, or None if there is none; an error inside of it is not swallowed."""
    if not importlib.util.find_spec(f"{PACKAGE}.custom.{name}"):
        return None
    return _imported(f"custom.{name}")


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all: a temporary file beside it, then a rename."""
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """JSON in a stable form: sorted keys, NaN refused, a newline at the end."""
    write_text(path, json.dumps(content, indent=1, sort_keys=True, allow_nan=False, default=str) + "\n")


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


def digest(path: Path, ignore: Iterable[str] = ()) -> str:
    """SHA-256 over the sorted relative names and the bytes of all files below a folder (or of one file).

    `ignore` names files at the top of the folder that do not count.
    """
    skipped = set(ignore)
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    total = hashlib.sha256()
    for file in files:
        name = file.relative_to(path).as_posix() if file != path else file.name
        if name in skipped:
            continue
        total.update(name.encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def say(text: str) -> None:
    """Print, and show the same on the summary page of a GitHub workflow."""
    print(text)
    _append("GITHUB_STEP_SUMMARY", f"```\n{text}\n```\n")


def tell_ci(**outputs: str) -> None:
    """Hand outputs to the next step of a GitHub workflow; does nothing anywhere else."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))


def _append(setting: str, text: str) -> None:
    """Add to the file that an environment variable names, if it is set."""
    if path := os.environ.get(setting):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)


def command_line(function: Callable[[], int]) -> int:
    """Run a verb or a stage; a ProjectError becomes one sentence on stderr and an exit code, Ctrl-C becomes 130."""
    quiet_tools()
    gc.set_threshold(50_000, 50)  # an import makes many objects and no garbage: a sixth of its time
    try:
        return function()
    except ProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        told = ": ".join(str(part) for part in (error.strerror, error.filename) if part)
        print(f"error: {told}.\n  Mend that, then run the same command again.", file=sys.stderr)
        return 1
