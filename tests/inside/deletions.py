"""Delete each statement of a project's wiring files in turn.

Says which promise of the template turns red by it.

Run by the projects' environment in a generated project: `python deletions.py FILE...` with files
such as `pipeline/train.py`. It prints one JSON object: by file and deletion, what caught it, or ""
if nothing did.

Each deletion is tried in a fork of one process that has imported the tools and rehearsed the
project once.
"""

import ast
import copy
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# A fork of a process with OpenMP threads would wait for them for ever.
os.environ["OMP_NUM_THREADS"] = "1"
sys.dont_write_bytecode = True

from mlgates import Project  # noqa: E402
from mlgates.rehearsal import STAGES, Rehearsal  # noqa: E402
from mlgates.testing import PROMISES  # noqa: E402

SECONDS = 120
TOOLS = (
    "bentoml",
    "evidently.presets",
    "great_expectations",
    "matplotlib.pyplot",
    "mlflow.store.tracking.sqlalchemy_store",
    "mlgates.registry.tracking",
    "mlgates.serving.http",
    "scipy.stats",
    "starlette.testclient",
)
EVERY_STAGE = ("each_stage_writes_what_dvc_yaml_says", "each_stage_names_the_code_that_it_uses")
WATCHED_BY = {
    "pipeline/ingest.py": (
        "ingest_closes_each_period_as_data_py_gives_it",
        "an_error_in_data_py_names_the_period",
        *EVERY_STAGE,
    ),
    "pipeline/validate.py": (
        "validate_puts_a_bad_row_into_quarantine_by_rule_and_value",
        "validate_keeps_or_quarantines_every_row",
        "validate_stops_the_run_on_schema_skew",
        *EVERY_STAGE,
    ),
    "pipeline/train.py": (
        "train_reports_on_the_model_that_it_wrote",
        "train_thins_more_rows_than_max_rows",
        *EVERY_STAGE,
    ),
    "pipeline/studies.py": ("studies_measure_tuning_features_and_staleness", *EVERY_STAGE),
    "pipeline/evaluate.py": ("evaluate_measures_the_candidate_on_the_untouched_rows", *EVERY_STAGE),
    "pipeline/gate.py": (
        "the_gate_judges_what_was_measured",
        "the_checks_of_the_team_are_part_of_the_verdict",
        *EVERY_STAGE,
    ),
    "pipeline/track.py": ("track_logs_the_model_to_mlflow_once", *EVERY_STAGE),
    "service.py": (
        "the_service_says_what_it_is_and_keeps_its_limits",
        "the_service_answers_as_the_predictor_does",
        "each_worker_of_the_service_writes_a_log_of_its_own",
        "the_service_is_not_ready_without_a_champion",
    ),
    "monitor.py": (
        "the_monitor_compares_each_column_as_what_it_is",
        "the_monitor_finds_no_drift_in_the_reference",
        "the_monitor_looks_at_the_time_that_it_is_asked_about",
        "the_monitor_finds_drift_and_skew",
    ),
}


def deletions(source: str) -> Iterator[tuple[str, str]]:
    """Name what is deleted in a few words, and give the source without it.

    Deleted are statements, decorators and keyword arguments.
    """
    tree = ast.parse(source)
    count = sum(1 for _ in _places(tree))
    names: dict[str, int] = {}
    for place in range(count):
        changed = copy.deepcopy(tree)
        holder, part, kind = list(_places(changed))[place]
        name = _shown(part, kind)
        names[name] = names.get(name, 0) + 1
        holder.remove(part)
        if not holder and kind == "statement":
            holder.append(ast.Pass())
        numbered = name if names[name] == 1 else f"{name} ({names[name]})"
        yield numbered, ast.unparse(ast.fix_missing_locations(changed))


def _places(tree: ast.AST) -> Iterator[tuple[list[Any], ast.AST, str]]:
    """Each part that can be deleted, the list that holds it, and what it is."""
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            body = getattr(node, name, None)
            if not isinstance(body, list):  # of a lambda or `a if b else c`
                continue
            for part in body:
                if not _is_docstring(part):
                    yield body, part, "statement"
        decorators = getattr(node, "decorator_list", [])
        for part in decorators:
            yield decorators, part, "decorator"
        if isinstance(node, ast.Call):
            for keyword in node.keywords:
                if keyword.arg:  # not `**more`
                    yield node.keywords, keyword, "argument"


def _is_docstring(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)


def _shown(part: ast.AST, kind: str) -> str:
    text = ast.unparse(part).splitlines()
    line = next(line for line in text if not line.startswith("@"))
    return {"statement": "", "decorator": "@", "argument": "argument "}[kind] + line[:90]


class Trials:
    """One rehearsed project, from which each deletion starts at the stage that it is about."""

    def __init__(self, project: Project, place: Path) -> None:
        self.project = project
        self.place = place
        self.rehearsal = Rehearsal(project, place / "project")
        for name in TOOLS:
            importlib.import_module(name)
        for stage in STAGES[:-1]:
            self._keep(f"pipeline/{stage}.py")
            self.rehearsal.after(stage)
        # Making an empty store takes longer than what is logged to it.
        in_a_fork(self._open_mlflow, project)
        self._keep("pipeline/track.py")
        self.rehearsal.serve()
        self._keep("service.py")
        self.performances = dict(self.rehearsal.performances)

    def _open_mlflow(self, project: Project) -> str:
        from mlgates.registry.mlflow_client import open_store

        open_store(self.rehearsal.project)
        return ""

    def _keep(self, file: str) -> None:
        shutil.copytree(self.rehearsal.folder, self._kept(file))

    def _kept(self, file: str) -> Path:
        return self.place / ("service.py" if file == "monitor.py" else file).replace("/", "-")

    def start(self, file: str) -> None:
        """Put the rehearsal back to where the file is first needed."""
        folder = self.rehearsal.folder
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(folder.with_name(f"{folder.name}-copy"), ignore_errors=True)
        shutil.copytree(self._kept(file), folder)
        stage = Path(file).stem
        self.rehearsal.performances = dict(self.performances)
        if stage in STAGES:
            self.rehearsal.stages = (stage,)
            earlier = STAGES[: STAGES.index(stage)]
            self.rehearsal.performances = {name: self.performances[name] for name in earlier}

    def caught_by(self, file: str) -> str:
        """The first promise that the project does not keep any more, and how it says so.

        "" if it keeps all of them.
        """
        name = f"{self.project.package}.{file.removesuffix('.py').replace('/', '.')}"
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        promises = {promise.__name__: promise for promise in PROMISES}
        for promise in WATCHED_BY[file]:
            try:
                promises[promise](self.rehearsal)
            except Exception as error:
                lines = traceback.format_exception_only(error)[-1].strip().splitlines()
                return f"{promise}: {lines[0][:200]}"
        return ""


def in_a_fork(function: Callable[[Any], str], argument: object) -> str:
    """What a function gives, called in a fork of this process; its output is dropped."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
        signal.alarm(SECONDS)  # kills the fork: a deletion that makes it hang is caught
        try:
            answer = function(argument)
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    _, status = os.waitpid(child, 0)
    return answer if status == 0 else f"ended with status {status}"


def main(files: list[str]) -> None:
    """Try every deletion in the files."""
    project = Project.find()
    found: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="mlops-wiring-") as place:
        trials = Trials(project, Path(place))
        for file in files:
            path = project.root / "src" / project.package / file
            source = path.read_text(encoding="utf-8")
            trials.start(file)
            found[file] = {"nothing": in_a_fork(trials.caught_by, file)}
            for name, changed in deletions(source):
                trials.start(file)
                path.write_text(changed + "\n", encoding="utf-8")
                try:
                    found[file][name] = in_a_fork(trials.caught_by, file)
                finally:
                    path.write_text(source, encoding="utf-8")
                print(
                    f"{file}: {name}: {found[file][name] or 'SURVIVED'}",
                    file=sys.stderr,
                    flush=True,
                )
    print("\n" + json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1:] or list(WATCHED_BY))
