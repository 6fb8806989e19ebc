"""A project: its folder, the team's own modules, its parameters and its cycle. It is passed on as an argument."""

import importlib
import importlib.util
import os
import tomllib
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

ROOT = "MLOPS_ROOT"  # the variable that names a project's folder, for a process that was started elsewhere


@dataclass(frozen=True)
class Project:
    """The folder `root` and the team's `package`, whose modules are imported when they are first needed.

    `modules` may hold some of them, by name ("schema", "pipeline.gate"), instead of those of the package.
    """

    root: Path
    package: str
    modules: Mapping[str, ModuleType] = field(default_factory=dict)

    @classmethod
    def find(cls) -> "Project":
        """The project of this process: in the folder that `MLOPS_ROOT` names, else in the first one upwards.

        Raises: ProjectError outside of a project.
        """
        if named := os.environ.get(ROOT):
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
        """The project in a folder. Raises: ProjectError if its pyproject.toml does not name the package."""
        package = table(root).get("package")
        if not isinstance(package, str) or not package.isidentifier():
            raise ProjectError(
                "pyproject.toml does not name the project's package.",
                'Add: [tool.mlgates] package = "NAME", the folder below src/ that holds schema.py',
            )
        return cls(root, package)

    def moved(self, root: Path) -> "Project":
        """The same package at work in another folder: a clone, or a folder to try something in."""
        return replace(self, root=root)

    def having(self, **modules: ModuleType) -> "Project":
        """The same project with other modules in the place of the team's own: `having(model=...)`."""
        return replace(self, modules={**self.modules, **modules})

    @cached_property
    def contract(self) -> "Contract":
        """`contract` of schema.py. Raises: ProjectError if it defines none."""
        found: Contract | None = getattr(self.module("schema"), "contract", None)
        if found is None:
            raise ProjectError(
                f"src/{self.package}/schema.py does not define `contract`.",
                "See docs/handbook.md, The contract.",
            )
        return found

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

        Raises: ProjectError if it cannot be imported, with file and reason.
        """
        if name in self.modules:
            return self.modules[name]
        path = source(self.package, name).as_posix()
        if not importlib.util.find_spec(self.package):
            raise ProjectError(
                f"The package {self.package!r}, which pyproject.toml names under [tool.mlgates], cannot be imported.",
                "Run: uv sync; or correct the name, if the package is called otherwise.",
            )
        try:
            return importlib.import_module(f"{self.package}.{name}")
        except ProjectError:
            raise
        except ModuleNotFoundError as error:
            if f"{self.package}.{name}.".startswith(
                f"{error.name}."
            ):  # itself, or the folder that it lies in
                raise ProjectError(
                    f"{path} is missing.", f"Bring it back: git checkout HEAD -- {path}"
                ) from None
            if (error.name or "").partition(".")[0] == "mlgates":
                raise _other_release(path, str(error)) from None
            raise ProjectError(
                f"{path} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        except ImportError as error:
            if (error.name or "").partition(".")[0] == "mlgates":
                raise _other_release(path, str(error)) from None
            raise ProjectError(
                f"{path} cannot be imported: {type(error).__name__}: {error}"
            ) from error
        except Exception as error:
            raise ProjectError(
                f"{path} cannot be imported: {type(error).__name__}: {error}"
            ) from error

    def stage(self, name: str) -> ModuleType:
        """The wiring file `pipeline/<name>.py`. Raises: ProjectError if it cannot be imported or has no `main`."""
        path = source(self.package, f"pipeline.{name}").as_posix()
        wiring = [file.stem for file in (self.root / path).parent.glob("[!_]*.py")]
        if wiring and name not in wiring and f"pipeline.{name}" not in self.modules:
            raise ProjectError(
                f"{path} is missing.", f"{nearest(name, wiring)} Or: git checkout HEAD -- {path}"
            )
        return self.wiring(f"pipeline.{name}")

    def wiring(self, name: str) -> ModuleType:
        """A module with a function `main`, such as "monitor". Raises: ProjectError if it has none, or as `module`."""
        module = self.module(name)
        if not callable(getattr(module, "main", None)):
            path = source(self.package, name).as_posix()
            raise ProjectError(
                f"{path} has no function main(project).",
                f"Bring it back: git checkout HEAD -- {path}",
            )
        return module

    def run_stage(self, name: str) -> None:
        """Run a wiring file. Raises: ProjectError as `stage` does, or if it uses what the installed mlgates has not."""
        main = self.stage(name).main
        try:
            main(self)
        except AttributeError as error:
            owner = getattr(error.obj, "__name__", "") if isinstance(error.obj, ModuleType) else ""
            if owner.partition(".")[0] != "mlgates":
                raise
            raise _other_release(
                source(self.package, f"pipeline.{name}").as_posix(), str(error)
            ) from error

    def settings(self) -> "Settings":
        """What params.yaml sets, and the defaults of the rest; see `settings.read`."""
        from mlgates import settings

        return settings.read(self.root)

    def cycle(self) -> dict[str, Any]:
        """What this cycle trains on and whom it has to beat; see `settings.cycle`."""
        from mlgates import settings

        return settings.cycle(self.root)


def _other_release(path: str, reason: str) -> ProjectError:
    """What is to be said when wiring and library do not belong together."""
    return ProjectError(
        f"{path} does not fit the installed mlgates: {reason}.",
        "Run: uv sync; if it stays so, `copier update` brings wiring and library of one release.",
    )


def table(root: Path) -> dict[str, Any]:
    """`[tool.mlgates]` of a folder's pyproject.toml. Raises: ProjectError if there is none, or if it is no TOML."""
    try:
        content = tomllib.loads((root / PYPROJECT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ProjectError(
            f"There is no pyproject.toml in {root}.", "Change into the project's folder."
        ) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProjectError(f"pyproject.toml is not readable as TOML: {error}") from None
    tools = content.get("tool")
    found = tools.get("mlgates") if isinstance(tools, dict) else None
    return found if isinstance(found, dict) else {}
