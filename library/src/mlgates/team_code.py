"""The team's own modules that others need: found by what they import, kept as text, and imported from that text.

A release carries the code of its features and of its estimator in its model folder. It is imported from there as a
package of its own for each release, so that two releases whose `features.py` differ score the same rows side by side,
and so that what the team changes later changes nothing that was released.
"""

import ast
import hashlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import pickle
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from mlgates.errors import ProjectError
from mlgates.layout import SOURCES, source
from mlgates.project import Project

FOLDER = "code"  # in a model folder; below it the team's package
CARRIED = ("features", "model")  # what a model is made of, beside what they import
ISOLATED = "mlgates_release_"  # before the name of the package of a release
INIT = "__init__.py"


def imported_files(project: Project, names: Sequence[str]) -> set[str]:
    """The modules of the team's package that some of them import, directly or through others; themselves included.

    Names are as `Project.module` takes them: "features", "pipeline.train".
    """
    return set(_closure(project.package, project.root / SOURCES / project.package, names))


def source_path(project: Project, name: str) -> str:
    """The file of a module of the team's package, relative to the project's root."""
    path = project.root / source(project.package, name)
    package = path.with_suffix("") / INIT
    if package.exists() and not path.exists():
        path = package
    return path.relative_to(project.root).as_posix()


def collected(project: Project) -> dict[str, str]:
    """What a release carries: the text of features.py, model.py and what they import, by the path below `code/`.

    The `__init__.py` of each package is there too, for an import runs it. Empty where the project's features or model
    are no files of the team's package (`Project.having`).

    Raises: ProjectError if one of them imports the team's package by its full name: a release is imported under
    another name, so that would be today's code.
    """
    if any(name in project.modules for name in CARRIED):
        return {}
    package = project.package
    features = project.features.__file__
    assert features, "features.py is a file"
    folder = Path(features).parent
    files = {}
    for path in sorted(_closure(package, folder, CARRIED, packages=True).values()):
        place = path.relative_to(folder).as_posix()
        text = path.read_text(encoding="utf-8")
        _refuse_full_names(package, place, text)
        files[f"{package}/{place}"] = text
    return files


def _closure(
    package: str, folder: Path, names: Sequence[str], *, packages: bool = False
) -> dict[str, Path]:
    """The files of some modules below a package's folder, and of all of the package that they import.

    With `packages` also the `__init__.py` of each package that they lie in, and what that imports: "" is the outermost.
    """
    found: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = _file(folder, name)
        if name in found or path is None:
            continue
        found[name] = path
        if packages and name:
            waiting.append(name.rpartition(".")[0])
        for module in _imports(package, name, path):
            if module.startswith(f"{package}."):
                waiting.append(module.removeprefix(f"{package}."))
    return found


def _file(folder: Path, name: str) -> Path | None:
    """The file of a module below the package's folder; None where the name is that of something inside a module."""
    place = folder.joinpath(*name.split("."))
    if name and place.with_suffix(".py").exists():
        return place.with_suffix(".py")
    return place / INIT if (place / INIT).exists() else None


def _imports(package: str, name: str, path: Path) -> list[str]:
    """All modules that a file may import, wherever it does so, by full name; of `from x import y` both x and x.y."""
    here = [package, *name.split(".")] if name else [package]
    if path.name != INIT:
        here.pop()
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            found += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return found


def _refuse_full_names(package: str, place: str, text: str) -> None:
    """Raises: ProjectError if a file imports its own package by the full name."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [node.module or ""]
        else:
            continue
        for name in names:
            if name.partition(".")[0] == package:
                raise ProjectError(
                    f"src/{package}/{place}, line {node.lineno}, imports {name!r} by its full name.",
                    "A release carries this file and imports it under another name. Write: from .MODULE import NAME",
                )


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write what a release carries into its model folder."""
    for name, text in files.items():
        path = folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class Carried:
    """The code of a release: the texts of the team's package, and the name that it is imported under here."""

    package: str
    name: str  # of the isolated package: the same code is the same package, imported once
    files: Mapping[str, str]  # text by path below the package

    def module(self, name: str) -> ModuleType:
        """A module of the release's own package, such as "features". Raises: ProjectError if it cannot be imported."""
        _finder().register(self)
        try:
            return importlib.import_module(f"{self.name}.{name}")
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace(self.name, self.package)
            raise ProjectError(
                f"The {name}.py that the model carries cannot be imported: {reason}"
            ) from error

    def unpickled(self, content: bytes) -> Any:
        """An object whose classes of the team's package are those of the release.

        Raises: ProjectError if a class cannot be had: its library is not installed, or its module was not carried.
        """
        _finder().register(self)
        try:
            return _Unpickler(BytesIO(content), self).load()
        except Exception as error:
            reason = f"{type(error).__name__}: {error}".replace(self.name, self.package)
            raise ProjectError(
                f"The estimator that the model carries cannot be loaded: {reason}"
            ) from error


def read(folder: Path) -> Carried:
    """The code that a model folder carries, read into memory: later edits of the folder change nothing.

    Raises: ProjectError if it carries none.
    """
    packages = [path for path in (folder / FOLDER).glob("*") if path.is_dir()]
    if len(packages) != 1:
        raise ProjectError(
            f"The model in {folder.name} carries no feature code: an older mlgates made it.",
            "Train and promote: uv run dvc repro",
        )
    package = packages[0]
    files = {}
    for path in sorted(package.rglob("*.py")):
        files[path.relative_to(package).as_posix()] = path.read_text(encoding="utf-8")
    total = hashlib.sha256(repr((package.name, files)).encode()).hexdigest()
    return Carried(package.name, f"{ISOLATED}{total[:16]}", files)


class _Unpickler(pickle.Unpickler):
    """Finds the classes of the team's package in the code that the release carries."""

    def __init__(self, file: BytesIO, carried: Carried) -> None:
        super().__init__(file)
        self.carried = carried

    def find_class(self, module: str, name: str) -> Any:
        """As pickle does, but for the team's package."""
        if module == self.carried.package or module.startswith(f"{self.carried.package}."):
            module = self.carried.name + module.removeprefix(self.carried.package)
        return super().find_class(module, name)


class _Loader(importlib.abc.InspectLoader):
    """Runs the text of a carried module: no file is opened, and no bytecode is read or written."""

    def __init__(self, text: str, path: str, *, package: bool) -> None:
        self.text = text
        self.path = path
        self.package = package

    def get_source(self, fullname: str) -> str:
        """The text, which tracebacks show too."""
        return self.text

    def get_code(self, fullname: str) -> CodeType:
        """The text compiled."""
        return self.source_to_code(self.text, self.path)

    def is_package(self, fullname: str) -> bool:
        """Whether it is an `__init__.py`."""
        return self.package


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of releases by their isolated names, and nothing else."""

    def __init__(self) -> None:
        self.releases: dict[str, Carried] = {}

    def register(self, carried: Carried) -> None:
        """Let a release be imported."""
        self.releases[carried.name] = carried

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module of a release; None for any other name."""
        root, _, rest = fullname.partition(".")
        carried = self.releases.get(root)
        if carried is None:
            return None
        place = rest.replace(".", "/")
        for name in _candidates(place):
            if name in carried.files:
                shown = f"<{carried.package} of the release>/{name}"
                loader = _Loader(carried.files[name], shown, package=name.endswith(INIT))
                return importlib.util.spec_from_loader(
                    fullname, loader, origin=shown, is_package=loader.package
                )
        folder = f"{place}/" if place else ""
        if any(
            name.startswith(folder) for name in carried.files
        ):  # a package without an __init__.py
            return importlib.util.spec_from_loader(
                fullname, _Loader("", INIT, package=True), is_package=True
            )
        return None


def _candidates(place: str) -> Iterable[str]:
    """Where the text of a module can stand."""
    if not place:
        return [INIT]
    return [f"{place}.py", f"{place}/{INIT}"]


def _finder() -> _Finder:
    """The one finder of this process."""
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            return finder
    made = _Finder()
    sys.meta_path.append(made)
    return made
