"""Tools are started in one module: with the environment of the project.

When one fails, the error is one sentence.
"""

import ast
import os
import sys
from pathlib import Path

import pytest

import mlgates
from mlgates import Project, tools
from mlgates.errors import ProjectError

SOURCE = Path(mlgates.__file__).parent


def python(project: Project, code: str) -> tools.Ended:
    """How a small program ended, started as a tool of the project."""
    return tools.run(project, sys.executable, "-c", code)


def imported_modules(code: str) -> set[str | None]:
    """The modules that a piece of Python imports."""
    modules: set[str | None] = set()
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module)
    return modules


@pytest.mark.parametrize(
    ("module", "place"), [("subprocess", "tools.py"), ("tempfile", "files.py")]
)
def test_processes_and_temporary_folders_are_made_in_one_place(module: str, place: str) -> None:
    users = set()
    for path in SOURCE.rglob("*.py"):
        if module in imported_modules(path.read_text(encoding="utf-8")):
            users.add(path.relative_to(SOURCE).as_posix())
    assert users == {place}


def test_a_tool_finds_its_project_from_anywhere(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLOPS_ROOT", "/another")
    monkeypatch.setenv("PYTHONPATH", "/others")
    environs = tools.environment(project)
    assert environs["MLOPS_ROOT"] == str(project.root)
    assert environs["PYTHONPATH"] == f"{project.root / 'src'}{os.pathsep}/others"
    assert environs["PATH"].split(os.pathsep)[0] == str(Path(sys.executable).parent)
    printed = python(project, "import late_flights; print(late_flights.__name__)").checked()
    assert "late_flights" in printed


def test_a_folder_without_sources_works_on_those_of_this_process(
    empty: Project, project: Project
) -> None:
    first = tools.environment(empty)["PYTHONPATH"].split(os.pathsep)[0]
    assert Path(first) == (project.root / "src").resolve()


def test_other_programs_and_another_library_go_first(project: Project, tmp_path: Path) -> None:
    environs = tools.environment(project, tmp_path / "bin", tmp_path / "library")
    assert environs["PATH"].split(os.pathsep)[0] == str(tmp_path / "bin")
    assert environs["PYTHONPATH"].split(os.pathsep)[0] == str(tmp_path / "library")


def test_telemetry_is_off_unless_the_user_wants_it(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DVC_NO_ANALYTICS", raising=False)
    monkeypatch.setenv("DO_NOT_TRACK", "0")
    environs = tools.environment(project)
    assert (environs["DVC_NO_ANALYTICS"], environs["DO_NOT_TRACK"]) == ("1", "0")


def test_a_tool_leaves_the_repository_of_a_hook_alone(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    hooked = empty.root / "hooked"
    here = empty.moved(empty.root / "here")
    here.root.mkdir()
    for folder in (hooked, here.root):
        tools.run(empty, "git", "init", "--quiet", str(folder)).checked()
    monkeypatch.setenv("GIT_DIR", str(hooked / ".git"))
    git_folder = tools.run(here, "git", "rev-parse", "--absolute-git-dir").checked().strip()
    assert Path(git_folder) == here.root.resolve() / ".git"


def test_a_failure_is_a_sentence_with_the_last_lines(empty: Project) -> None:
    ended = python(empty, "import sys; print('0'); sys.exit('1\\n2\\n error: it is\\n  gone.')")
    assert ended.code == 1
    assert ended.reason == "2 error: it is gone"
    with pytest.raises(ProjectError, match=r"stopped: 2 error: it is gone\.\n  Bring it back"):
        ended.checked(remedy="Bring it back")
    assert ended.checked(allowed=(0, 1)) == "0\n"


def test_of_a_traceback_only_the_error_is_shown(empty: Project) -> None:
    ended = python(empty, "def f():\n    raise ValueError('no rows')\nf()")
    assert ended.reason == "ValueError: no rows"


def test_without_standard_error_the_reason_is_what_was_printed_if_anything_was(
    empty: Project,
) -> None:
    assert python(empty, "print('here'); raise SystemExit(2)").reason == "here"
    assert python(empty, "raise SystemExit(2)").reason == "no reason given"


def test_a_tool_that_is_not_installed_is_named_with_where_to_get_it(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    message = r"uv is not installed\.\n  Install it: https://docs.astral.sh/uv"
    for start in (tools.run, tools.show):
        with pytest.raises(ProjectError, match=message):
            start(empty, "uv", "sync")


def test_the_failure_of_a_tool_on_the_terminal_points_at_its_own_words(empty: Project) -> None:
    message = r'`git frobnicate "a b"` stopped; its last lines say why\.\n  Again'
    with pytest.raises(ProjectError, match=message):
        tools.show(empty, "git", "frobnicate", "a b", remedy="Again")


def test_a_tool_in_the_background_ends_with_its_block(empty: Project) -> None:
    log = empty.root / "var" / "log"
    code = "import time; print('up', flush=True); time.sleep(60)"
    processes = []

    def stopped() -> None:
        with tools.started(empty, sys.executable, "-c", code, log=log) as process:
            processes.append(process)
            while not log.read_text():
                assert process.poll() is None
            raise ProjectError("stop here")

    with pytest.raises(ProjectError, match="stop here"):
        stopped()
    assert processes[0].poll() is not None


def test_the_environment_of_a_project_ends_with_the_block(
    empty: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    before = dict(os.environ)
    inside = {}

    def stopped() -> None:
        with tools.inside(empty, without=["MLFLOW_TRACKING_URI"]):
            inside.update(os.environ)
            raise ProjectError("stop here")

    with pytest.raises(ProjectError, match="stop here"):
        stopped()
    assert inside["MLOPS_ROOT"] == str(empty.root)
    assert "MLFLOW_TRACKING_URI" not in inside
    assert dict(os.environ) == before
