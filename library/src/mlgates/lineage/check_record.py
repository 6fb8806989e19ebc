"""Whether the commit of a release still says what was recorded when it was released."""

import hashlib
import json

from mlgates.dvc_lock import stages
from mlgates.layout import DVC_LOCK, GATE
from mlgates.lineage import stage_files
from mlgates.project import Project
from mlgates.registry.releases import Release, identifiers, show
from mlgates.verdict import Check, Report, Verdict, at_most


def check_record(project: Project, release: Release) -> list[Check]:
    """Compare the commit of a release with the annotation of its tag.

    The checks are `record.model`, `record.measured` (all numbers and limits that were judged),
    `record.files` (the reports in git), `record.verdict` and `record.digest`.
    """
    lock = show(project, release.commit, DVC_LOCK)
    fingerprint, measured = identifiers(lock)
    where = f"{release.commit[:8]}:{DVC_LOCK}"
    checks = [
        _compare("record.model", release.fingerprint, fingerprint, f"train in {where}"),
        _compare("record.measured", release.measured, measured, f"gate in {where}"),
    ]

    hashes = _hashes_of_reports(lock)
    reports = {}
    for path in hashes:
        text = show(project, release.commit, path)
        if text:
            reports[path] = text
    if not reports:
        evidence = "no reports there"
        return [*checks, Check("record.files", Verdict.INCONCLUSIVE, evidence=evidence)]

    changed = [path for path in reports if hashes[path] not in _possible_hashes(reports[path])]
    evidence = ", ".join(changed)
    checks.append(at_most("record.files", len(changed), 0, len(reports), evidence=evidence))
    return [*checks, *_gate_checks(release, reports.get(GATE.as_posix(), ""))]


def _gate_checks(release: Release, text: str) -> list[Check]:
    """`record.verdict` and `record.digest`, from the text of the gate's report.

    The verdict is computed again from the checks: the stored one may have been edited.
    """
    gate = Report("gate")
    if text:
        gate = Report.from_dict(json.loads(text))
    verdict = str(gate.verdict)
    model = gate.facts.get("model", "")
    return [
        _compare("record.verdict", release.verdict, verdict, f"checks in {GATE.as_posix()}"),
        _compare("record.digest", release.digest, model, f"model in {GATE.as_posix()}"),
    ]


def _hashes_of_reports(lock: str) -> stage_files.Hashes:
    """The MD5 hashes in a dvc.lock of all JSON files that a stage reads or writes, by path."""
    hashes: stage_files.Hashes = {}
    for stage in stages(lock).values():
        files = stage_files.inputs(stage) | stage_files.outputs(stage)
        for path, md5 in files.items():
            if path.endswith(".json"):
                hashes[path] = md5
    return hashes


def _possible_hashes(text: str) -> tuple[str, str]:
    """The MD5 hashes of a text with and without a newline at its end, which `show` cuts off."""
    return _md5(text), _md5(f"{text}\n")


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()


def _compare(name: str, recorded: str, now: str, where: str) -> Check:
    """A check that fails if a value is not the recorded one; `where` says where it was read."""
    if not recorded:
        evidence = "the release's tag does not name it"
        return Check(name, Verdict.INCONCLUSIVE, required=False, evidence=evidence)
    if recorded == now:
        return Check(name, Verdict.OK, value=now[:8], limit=recorded[:8])
    return Check(name, Verdict.FAIL, value=now[:8], limit=recorded[:8], evidence=where)
