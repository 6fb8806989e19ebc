"""A project: its folder, the team's modules, its parameters and its cycle.

Functions take the project as an argument; there is no global one.
"""

import importlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mlgates.errors import ProjectError, nearest
from mlgates.layout import PIPELINE, PYPROJECT, source

if TYPE_CHECKING:
    from mlgates.contract import Contract
    from mlgates.settings import Settings

ROOT = "MLOPS_ROOT"  # names the project's folder for a process that was started somewhere else


@dataclass(frozen=True)
class Project:
    """The folder `root` and the team's `package`, whose modules are imported when first needed.

    `modules` may hold some of them by name ("schema", "pipeline.gate"). Such a module is used in
    the place of the package's own.
    """

    root: Path
    package: str
    modules: Mapping[str, ModuleType] = field(default_factory=dict)

    @classmethod
    def find(cls) -> "Project":
        """The project of this process.

        It is the folder that the variable `MLOPS_ROOT` names, else the first one upwards from here
        that holds dvc.yaml and pyproject.toml. Both are asked for, because a folder of tools may
        have a pyproject.toml of its own.

        Raises: ProjectError outside of a project.
        """
        named = os.environ.get(ROOT)
        if named:
            return cls.at(Path(named).resolve())
        here = Path.cwd().resolve()
        for folder in [here, *here.parents]:
            if (folder / PIPELINE).exists() and (folder / PYPROJECT).exists():
                return cls.at(folder)
        raise ProjectError(
            f"{here} is not inside a project.",
            "Change into the folder that holds dvc.yaml and pyproject.toml.",
        )

    @classmethod
    def at(cls, root: Path) -> "Project":
        """The project in a folder.

        Raises: ProjectError if its pyproject.toml does not name the package.
        """
        package = table(root).get("package")
        if not isinstance(package, str) or not package.isidentifier():
            raise ProjectError(
                "pyproject.toml does not name the project's package.",
                'Add: [tool.mlgates] package = "NAME", the folder below src/ that holds schema.py',
            )
        return cls(root, package)

    def moved(self, root: Path) -> "Project":
        """The same package at work in another folder, such as a clone."""
        return replace(self, root=root)

    def having(self, **modules: ModuleType) -> "Project":
        """The same project with other modules in place of the team's: `having(model=...)`."""
        return replace(self, modules={**self.modules, **modules})

    @cached_property
    def contract(self) -> "Contract":
        """`contract` of schema.py. Raises: ProjectError if schema.py does not define it."""
        contract: Contract | None = getattr(self.module("schema"), "contract", None)
        if contract is None:
            raise ProjectError(
                f"src/{self.package}/schema.py does not define `contract`.",
                "See docs/handbook.md, The contract.",
            )
        return contract

    @property
    def data(self) -> ModuleType:
        """data.py."""
        return self.module("data")

    @property
    def features(self) -> ModuleType:
        """features.py."""
        return self.module("features")

    @property
    def model(self) -> ModuleType:
        """model.py."""
        return self.module("model")

    def module(self, name: str) -> ModuleType:
        """A module of the team's package, such as "schema" or "pipeline.gate".

        Raises: ProjectError with file and reason if it cannot be imported.
        """
        if name in self.modules:
            return self.modules[name]
        if not importlib.util.find_spec(self.package):
            raise ProjectError(
                f"The package {self.package!r}, which pyproject.toml names"
                " under [tool.mlgates], cannot be imported.",
                "Run: uv sync. Or correct the name, if the package has another one.",
            )
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except ProjectError:
            raise  # the module has a message of its own
        except ImportError as error:
            path = source(self.package, name).as_posix()
            if _is_missing(error, f"{self.package}.{name}"):
                raise ProjectError(
                    f"{path} is missing.", f"Bring it back: git checkout HEAD -- {path}"
                ) from None
            if _top_package(error.name) == "mlgates":
                raise _other_release(path, str(error)) from None
            raise _cannot_be_imported(path, error) from error
        except Exception as error:
            path = source(self.package, name).as_posix()
            raise _cannot_be_imported(path, error) from error

    def stage(self, name: str) -> ModuleType:
        """The wiring file `pipeline/<name>.py`.

        Raises: ProjectError if it is missing, cannot be imported or has no function `main`.
        """
        path = source(self.package, f"pipeline.{name}").as_posix()
        folder = (self.root / path).parent
        stages = [file.stem for file in folder.glob("[!_]*.py")]
        if stages and name not in stages and f"pipeline.{name}" not in self.modules:
            raise ProjectError(
                f"{path} is missing.", f"{nearest(name, stages)} Or: git checkout HEAD -- {path}"
            )
        return self.wiring(f"pipeline.{name}")

    def wiring(self, name: str) -> ModuleType:
        """A module with a function `main`, such as "monitor".

        Raises: ProjectError if it cannot be imported or has no such function.
        """
        module = self.module(name)
        if not callable(getattr(module, "main", None)):
            path = source(self.package, name).as_posix()
            raise ProjectError(
                f"{path} has no function main(project).",
                f"Bring it back: git checkout HEAD -- {path}",
            )
        return module

    def run_stage(self, name: str) -> None:
        """Run a wiring file.

        Raises: ProjectError as `stage` does, or if the file uses something that the installed
        mlgates does not have.
        """
        main = self.stage(name).main
        try:
            main(self)
        except AttributeError as error:
            # A module of mlgates lacks the attribute: the wiring is of another release. Any other
            # AttributeError is a mistake in the code, and keeps its traceback.
            module = error.obj if isinstance(error.obj, ModuleType) else None
            if module is None or _top_package(module.__name__) != "mlgates":
                raise
            path = source(self.package, f"pipeline.{name}").as_posix()
            raise _other_release(path, str(error)) from error

    def settings(self) -> "Settings":
        """What params.yaml sets, and the defaults of the rest; see `settings.read`."""
        from mlgates import settings

        return settings.read(self.root)

    def cycle(self) -> dict[str, Any]:
        """The last closed period and the model to beat; see `settings.cycle`."""
        from mlgates import settings

        return settings.cycle(self.root)


def _top_package(module: str | None) -> str:
    """The first part of a module's name."""
    return (module or "").partition(".")[0]


def _is_missing(error: ImportError, module: str) -> bool:
    """Whether an import failed because the module itself, or a folder it lies in, is missing.

    Otherwise something is missing that the module imports.
    """
    if not isinstance(error, ModuleNotFoundError):
        return False
    return f"{module}.".startswith(f"{error.name}.")


def _cannot_be_imported(path: str, error: Exception) -> ProjectError:
    """The error for a module of the team that cannot be imported."""
    return ProjectError(f"{path} cannot be imported: {type(error).__name__}: {error}")


def _other_release(path: str, reason: str) -> ProjectError:
    """The error for wiring and a library of different releases."""
    return ProjectError(
        f"{path} does not fit the installed mlgates: {reason}.",
        "Run: uv sync. If the message stays, `copier update` brings wiring and library"
        " of one release.",
    )


def table(root: Path) -> dict[str, Any]:
    """`[tool.mlgates]` of a folder's pyproject.toml; empty if there is no such table.

    Raises: ProjectError if the file is missing or is not TOML.
    """
    import tomllib

    try:
        content = tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"There is no pyproject.toml in {root}.", "Change into the project's folder."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"pyproject.toml is not readable as TOML: {error}") from None
    tools = content.get("tool")
    if not isinstance(tools, dict):
        return {}
    settings = tools.get("mlgates")
    if not isinstance(settings, dict):
        return {}
    return settings
