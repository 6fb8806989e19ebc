"""`mlops reproduce`: make a release again in a clean clone and compare it with what was released.

It needs git and the DVC remote, and nothing else.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from mlgates.dvc_lock import locked, stages
from mlgates.errors import ProjectError
from mlgates.files import digest, read_json, read_yaml, write_json
from mlgates.layout import CANDIDATE, CYCLE, MADE, REPORTS
from mlgates.layout import GATE as GATE_REPORT
from mlgates.lineage import stage_files
from mlgates.lineage.check_record import check_record
from mlgates.lineage.environment import Environment, environment_of
from mlgates.lineage.trace import find_release, similar
from mlgates.model_folder import IGNORED
from mlgates.project import Project
from mlgates.registry import dvc_storage
from mlgates.registry.deploy import fetch, fetch_signed
from mlgates.registry.releases import Record, Release, read, settle_if_reachable
from mlgates.registry.sandbox import cloned
from mlgates.verdict import Check, Report, Verdict, at_most

# The stages that run again. `studies` is absent from projects without any study.
TRAIN = "train"
MEASURING = ("evaluate", "studies")
GATE = "gate"

# The values in reports that another machine, or the same one on another day, measures differently.
OF_THE_MACHINE = {
    "seconds",
    "milliseconds_1",
    "milliseconds_100",
    "microseconds",
    "batch_microseconds",
    "lookup_microseconds",
    "memory",
    "bytes",
    "measured",  # the day
}
MAX_SHOWN = 3  # numbers that differ, in the evidence


def reproduce(project: Project, name: str) -> Report:
    """Rebuild a release, and compare data, predictions, numbers and model with what was released.

    What is lost is `inconclusive`, and its check says what is missing.
    Raises: ProjectError if there is no such release.
    """
    remote_note = settle_if_reachable(project)
    started = time.monotonic()
    record = read(project)
    release = find_release(record, name)
    if not release:
        versions = [known.version for known in record.releases]
        raise ProjectError(f"There is no release {name!r}.", similar(name, versions))

    title = f"reproduce  {release.tag} ({release.fingerprint[:8]})"
    report = Report(title, check_record(project, release))
    if release.erased:
        report.add(_unavailable("reproduce.data", release.erased))
        return report
    try:
        with cloned(project, release.commit) as (work, base):
            report.add(*_rebuilt(project, work, base, record, release))
    except ProjectError as error:
        report.add(_unavailable("reproduce.data", str(error)))
    seconds = round(time.monotonic() - started, 1)
    report.facts["seconds"] = seconds
    report.title += f", {seconds} s{remote_note}"
    return report


def _unavailable(name: str, reason: str) -> Check:
    """The check of something that cannot be compared, because a part of the release is lost."""
    return Check(name, Verdict.INCONCLUSIVE, evidence=" ".join(reason.split()))


def _rebuilt(
    project: Project, work: Project, base: Path, record: Record, release: Release
) -> Iterator[Check]:
    """Train in the clone `work` again and compare; each check as soon as it can be made.

    It ends with a check that fails where the next ones cannot be made.
    """
    dvc_storage.share_remote(project, work, base / "cache")
    lock = stages(locked(work))
    released_model = fetch(work, release)
    recorded_reports = _reports(work)
    for path in _absent_inputs(work, lock):
        dvc_storage.pull(work, path)
    environment, check = environment_of(project, work, base, release)
    yield check

    problem = _run(work, environment, TRAIN)
    if problem:
        yield Check("reproduce.predictions", Verdict.FAIL, evidence=problem)
        return
    yield data(lock[TRAIN], stages(locked(work))[TRAIN])
    yield _predictions(work, environment, base, released_model)
    yield _model(work, release)

    try:
        _bring_champion(work, record)
    except ProjectError as error:
        yield _unavailable("reproduce.metrics", str(error))
        return
    yield from _judged_again(work, environment, release, recorded_reports)


def _judged_again(
    work: Project, environment: Environment, release: Release, recorded_reports: dict[str, Any]
) -> Iterator[Check]:
    """Evaluate and judge again: `reproduce.metrics` and `reproduce.verdict`."""
    for stage in _measuring_stages(stages(locked(work))):
        problem = _run(work, environment, stage)
        if problem:
            yield Check("reproduce.metrics", Verdict.FAIL, evidence=problem)
            return
    reports = _reports(work)
    yield metrics(recorded_reports, reports)

    # The gate has limits for speed and memory too. It judges what was measured on the machine that
    # released the model, because this one may be slower.
    for name, report in reports.items():
        path = work.root / REPORTS / name
        write_json(path, _with_recorded_speed(report, recorded_reports.get(name)))
    problem = _run(work, environment, GATE)
    if problem:
        yield Check("reproduce.verdict", Verdict.FAIL, evidence=problem)
        return
    stored = read_json(work.root / GATE_REPORT)
    verdict = str(Report.from_dict(stored).verdict)
    yield Check(
        "reproduce.verdict",
        Verdict.OK if verdict == release.verdict else Verdict.FAIL,
        value=verdict,
        limit=release.verdict,
        evidence="what the gate says of these numbers",
    )


def _measuring_stages(lock: dict[str, Any]) -> list[str]:
    """The measuring stages that the release has."""
    return [name for name in MEASURING if name in lock]


def _absent_inputs(work: Project, lock: dict[str, Any]) -> list[str]:
    """The inputs of the stages that are neither in git nor the output of one of these stages."""
    inputs: set[str] = set()
    outputs: set[str] = set()
    for stage in [TRAIN, *_measuring_stages(lock), GATE]:
        inputs.update(stage_files.inputs(lock[stage]))
        outputs.update(stage_files.outputs(lock[stage]))
    return [path for path in sorted(inputs - outputs) if not (work.root / path).exists()]


def _reports(work: Project) -> dict[str, Any]:
    """The content of all reports in the clone, by their path below `reports/`."""
    folder = work.root / REPORTS
    reports = {}
    for path in sorted(folder.rglob("*.json")):
        reports[path.relative_to(folder).as_posix()] = read_json(path)
    return reports


def _run(work: Project, environment: Environment, stage: str) -> str:
    """Run one stage as DVC does; returns why it stopped, or nothing.

    DVC itself is today's. Only the command of the stage finds the release's programs and library
    first.
    """
    words = ("dvc", "repro", "--force", "--single-item", "--no-commit", stage)
    return environment.run(work, *words).failure


def data(recorded: dict[str, Any], again: dict[str, Any]) -> Check:
    """`reproduce.data`: training read the recorded data and wrote the recorded rows to evaluate on.

    Both are entries of `train` in dvc.lock. Models and reports are compared by other checks.
    """
    recorded_hashes = stage_files.inputs(recorded) | stage_files.outputs(recorded)
    hashes = stage_files.inputs(again) | stage_files.outputs(again)
    not_data = (str(MADE), str(REPORTS))
    compared = [path for path in recorded_hashes if Path(path).parts[0] not in not_data]
    changed = dict(recorded_hashes.items() - hashes.items())
    different = sorted(changed.keys() & set(compared))
    evidence = ", ".join(different) or "hashes equal"
    return at_most("reproduce.data", len(different), 0, len(compared), evidence=evidence)


def _predictions(work: Project, environment: Environment, base: Path, released: Path) -> Check:
    """`reproduce.predictions`: the released and the new model score the same rows.

    Both are scored in the release's environment, by its own library.
    """
    recorded_scores = base / "then.npy"
    scores = base / "again.npy"
    paths = (released, recorded_scores, work.root / CANDIDATE, scores)
    words = [environment.python, "-m", "mlgates.lineage.score_again"]
    ended = environment.run(work, *words, *map(str, paths))
    if ended.code:
        return Check("reproduce.predictions", Verdict.FAIL, evidence=ended.reason)
    return equal(np.load(recorded_scores), np.load(scores))


def equal(recorded: np.ndarray, again: np.ndarray) -> Check:
    """`reproduce.predictions`: no score differs, not even in its last bit."""
    if recorded.shape != again.shape:
        return Check(
            "reproduce.predictions",
            Verdict.FAIL,
            value=str(again.shape),
            limit=str(recorded.shape),
        )
    is_different = (recorded != again) & ~(np.isnan(recorded) & np.isnan(again))
    largest = float(np.nanmax(np.abs(recorded - again), initial=0.0))
    evidence = f"rows that differ; largest difference {largest:.3g}"
    different = int(is_different.sum())
    return at_most("reproduce.predictions", different, 0, len(recorded), evidence=evidence)


def _model(work: Project, release: Release) -> Check:
    """`reproduce.model`: the bytes of the model, which need not be equal.

    With another number of threads an equal model may be written as other bytes.
    """
    model = digest(work.root / CANDIDATE, IGNORED)
    return Check(
        "reproduce.model",
        Verdict.OK if model == release.digest else Verdict.INCONCLUSIVE,
        value=model[:8],
        limit=release.digest[:8],
        required=False,
        evidence="bytes of the model",
    )


def metrics(recorded: dict[str, Any], again: dict[str, Any]) -> Check:
    """`reproduce.metrics`: every number is the recorded one, except for speed and memory.

    Both are the contents of reports, by name.
    """
    recorded_values = _leaves(recorded)
    values = _leaves(_with_recorded_speed(again, recorded))
    different = sorted(dict(recorded_values.items() ^ values.items()))
    examples = []
    for name in different[:MAX_SHOWN]:
        shown = name.removeprefix(".")
        examples.append(f"{shown}: {values.get(name)}, recorded {recorded_values.get(name)}")
    evidence = ", ".join(examples) or "numbers equal"
    return at_most("reproduce.metrics", len(different), 0, len(recorded_values), evidence=evidence)


def _with_recorded_speed(again: Any, recorded: Any, name: str = "") -> Any:
    """What was measured again, with the recorded values of all that depends on the machine.

    `name` is the key under which `again` is stored.
    """
    if not isinstance(again, dict | list):
        return recorded if name in OF_THE_MACHINE else again
    recorded_parts = _parts(recorded)
    parts = {}
    for key, part in _parts(again).items():
        parts[key] = _with_recorded_speed(part, recorded_parts.get(key), key)
    return parts if isinstance(again, dict) else list(parts.values())


def _leaves(content: Any, prefix: str = "") -> dict[str, Any]:
    """The values in nested dictionaries and lists by their path, such as `.slices.0.value`."""
    if not isinstance(content, dict | list):
        return {prefix: content}
    leaves = {}
    for key, part in _parts(content).items():
        leaves.update(_leaves(part, f"{prefix}.{key}"))
    return leaves


def _parts(content: Any) -> dict[str, Any]:
    """What a dictionary or a list holds, by key or by position; nothing for any other value."""
    if isinstance(content, list):
        content = {str(position): item for position, item in enumerate(content)}
    return content if isinstance(content, dict) else {}


def _bring_champion(work: Project, record: Record) -> None:
    """Put the champion of that cycle where evaluate reads it.

    Raises: ProjectError if the record or the DVC remote does not have it.
    """
    fingerprint = read_yaml(work.root / CYCLE)["champion"]
    if not fingerprint:  # the first model had none
        return
    release = record.release_of_model(fingerprint)
    if not release:
        raise ProjectError(
            f"The record does not have the champion of that cycle, {fingerprint[:8]}."
        )
    fetch_signed(work, record, release)
