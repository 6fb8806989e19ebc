"""The team's code that a release carries: collected, kept as text, and imported from that text.

A release carries the code of its features and of its estimator in its model folder. From there it
is imported as a package of its own for each release. So two releases whose `features.py` differ
score the same rows side by side, and what the team changes later changes nothing that was released.
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

FOLDER = "code"  # in a model folder; below it lies the team's package
CARRIED = ("features", "model")  # the modules that make a model; what they import is carried too
ISOLATED = "mlgates_release_"  # how the name begins under which a release's package is imported
INIT = "__init__.py"


def imported_files(project: Project, names: Sequence[str]) -> set[str]:
    """The named modules of the team's package, and all of it that they import, also indirectly.

    Names are as `Project.module` takes them: "features", "pipeline.train".
    """
    folder = project.root / SOURCES / project.package
    return set(_imported(project.package, folder, names))


def source_path(project: Project, name: str) -> str:
    """The file of a module of the team's package, relative to the project's root."""
    path = project.root / source(project.package, name)
    package = path.with_suffix("") / INIT
    if package.exists() and not path.exists():
        path = package
    return path.relative_to(project.root).as_posix()


def collected(project: Project) -> dict[str, str]:
    """What a release carries: the text of features.py, model.py and what they import.

    The keys are paths below `code/`. The `__init__.py` of each package is there too, because an
    import runs it. Empty if the project's features or model are not files of the team's package
    (`Project.having`).

    Raises: ProjectError if one of them imports the team's package by its full name. A release is
    imported under another name, so that import would find the team's present code.
    """
    if any(name in project.modules for name in CARRIED):
        return {}
    package = project.package
    features = project.features.__file__
    assert features, "features.py is a file"
    folder = Path(features).parent
    files = {}
    for path in sorted(_imported(package, folder, CARRIED, packages=True).values()):
        name = path.relative_to(folder).as_posix()
        text = path.read_text(encoding="utf-8")
        _refuse_full_names(package, name, text)
        files[f"{package}/{name}"] = text
    return files


def _imported(
    package: str, folder: Path, names: Sequence[str], *, packages: bool = False
) -> dict[str, Path]:
    """The files of some modules of a package, and of all of the package that they import, by name.

    `folder` is the package's own. With `packages` also the `__init__.py` of each package that they
    lie in, and what that imports; the name of the outermost one is "".
    """
    files: dict[str, Path] = {}
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        path = _file(folder, name)
        if name in files or path is None:
            continue
        files[name] = path
        if packages and name:
            parent = name.rpartition(".")[0]
            waiting.append(parent)
        for module in _imports(package, name, path):
            if module.startswith(f"{package}."):
                waiting.append(module.removeprefix(f"{package}."))
    return files


def _file(folder: Path, name: str) -> Path | None:
    """The file of a module below the package's folder.

    None if there is no such module: the name may be that of something inside a module.
    """
    path = folder.joinpath(*name.split("."))
    module = path.with_suffix(".py")
    if name and module.exists():
        return module
    if (path / INIT).exists():
        return path / INIT
    return None


def _imports(package: str, name: str, path: Path) -> list[str]:
    """The full names of all modules that a file may import, at its top or inside functions.

    `from x import y` gives both x and x.y, because y may be a module or something inside x.
    """
    # The package that relative imports of this file start from.
    here = [package, *name.split(".")] if name else [package]
    if path.name != INIT:
        here.pop()

    modules = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            module = _imported_from(node, here)
            modules.append(module)
            modules += [f"{module}.{alias.name}" for alias in node.names]
    return modules


def _imported_from(node: ast.ImportFrom, here: list[str]) -> str:
    """The full name of the module in `from MODULE import ...`; `here` is the file's package."""
    parts = []
    if node.level:  # the number of dots before the name: one is `here`, each further one its parent
        parts = here[: len(here) - node.level + 1]
    if node.module:
        parts = [*parts, node.module]
    return ".".join(parts)


def _refuse_full_names(package: str, file: str, text: str) -> None:
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
                    f"src/{package}/{file}, line {node.lineno}, imports {name!r} by its full name.",
                    "A release carries this file and imports it under another name."
                    " Write: from .MODULE import NAME",
                )


def write(files: Mapping[str, str], folder: Path) -> None:
    """Write what a release carries into its model folder."""
    for name, text in files.items():
        path = folder / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="\n")


@dataclass(frozen=True)
class Carried:
    """The code of a release: the texts of the team's package, and the name of its import here.

    `package` is what the team calls the package. `name` is what it is imported as: the same code
    has the same name, and so is imported once. `files` are texts by their path below the package.
    """

    package: str
    name: str
    files: Mapping[str, str]

    def module(self, name: str) -> ModuleType:
        """A module of the release's own package, such as "features".

        Raises: ProjectError if it cannot be imported.
        """
        _finder().register(self)
        try:
            return importlib.import_module(f"{self.name}.{name}")
        except Exception as error:
            raise ProjectError(
                f"The {name}.py that the model carries cannot be imported: {self._reason(error)}"
            ) from error

    def unpickled(self, content: bytes) -> Any:
        """An object whose classes of the team's package are those of the release.

        Raises: ProjectError if a class cannot be imported: its library is not installed, or its
        module was not carried.
        """
        _finder().register(self)
        try:
            return _Unpickler(BytesIO(content), self).load()
        except Exception as error:
            raise ProjectError(
                f"The estimator that the model carries cannot be loaded: {self._reason(error)}"
            ) from error

    def _reason(self, error: Exception) -> str:
        """The error in words, under the name that the team knows its package by."""
        return f"{type(error).__name__}: {error}".replace(self.name, self.package)


def read(folder: Path) -> Carried:
    """The code that a model folder carries.

    It is read into memory, so later edits of the folder change nothing.
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
    digest = hashlib.sha256(repr((package.name, files)).encode()).hexdigest()
    return Carried(package.name, f"{ISOLATED}{digest[:16]}", files)


class _Unpickler(pickle.Unpickler):
    """Finds the classes of the team's package in the code that the release carries."""

    def __init__(self, file: BytesIO, carried: Carried) -> None:
        super().__init__(file)
        self.carried = carried

    def find_class(self, module: str, name: str) -> Any:
        """As pickle does, except that the team's package is the release's."""
        package = self.carried.package
        if module == package or module.startswith(f"{package}."):
            module = self.carried.name + module.removeprefix(package)
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
        """Make the modules of a release importable."""
        self.releases[carried.name] = carried

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """The module of a release; None for any other name."""
        release, _, module = fullname.partition(".")
        carried = self.releases.get(release)
        if carried is None:
            return None

        path = module.replace(".", "/")
        for name in _candidates(path):
            if name in carried.files:
                origin = f"<{carried.package} of the release>/{name}"  # what tracebacks show
                is_package = name.endswith(INIT)
                loader = _Loader(carried.files[name], origin, package=is_package)
                return importlib.util.spec_from_loader(
                    fullname, loader, origin=origin, is_package=is_package
                )

        # A folder without an __init__.py is a package too.
        folder = f"{path}/" if path else ""
        if any(name.startswith(folder) for name in carried.files):
            loader = _Loader("", INIT, package=True)
            return importlib.util.spec_from_loader(fullname, loader, is_package=True)
        return None


def _candidates(path: str) -> Iterable[str]:
    """The files in which the text of a module can stand; the path of the package itself is ""."""
    if not path:
        return [INIT]
    return [f"{path}.py", f"{path}/{INIT}"]


def _finder() -> _Finder:
    """The one finder of this process."""
    for finder in sys.meta_path:
        if isinstance(finder, _Finder):
            return finder
    finder = _Finder()
    sys.meta_path.append(finder)
    return finder
