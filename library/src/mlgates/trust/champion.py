"""The champion, the one in service and the one to beat: found, verified and loaded in one way.

`var/champion.json` names the champion in service: promote, follow and `rollback --now` write it,
the service and the monitor read it. `cycle.yaml` names the champion to beat. The models of both
lie in `var/models/<fingerprint>`, where `registry.deploy` puts them. Loading a pickle runs whatever
code its maker put into it, so everything here is checked before one is loaded.
"""

from collections.abc import Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from mlgates.errors import ProjectError
from mlgates.files import read_json, write_json
from mlgates.layout import CHAMPION, MODELS
from mlgates.model_folder import CONTRACT, Scorer, load, verified
from mlgates.project import Project
from mlgates.trust.verify import require_signature
from mlgates.verdict import Report, Verdict

FOLLOW = "Run: uv run mlops follow"
OF_BEFORE = "A model of an older mlgates has none. Train and promote: uv run dvc repro"

# How many leading parts of a library's version must be equal for it to read a stored model, where
# that is not 2: NumPy 2.x reads all models of NumPy 2, but scikit-learn 1.9 only those of 1.9.
COMPARED_PARTS = {"numpy": 1}

OTHER_CONTRACT = "serving.contract"  # refuses a model that was made for another contract
MAX_SHOWN = 5  # differences between two contracts


def read_pointer(project: Project) -> dict[str, Any]:
    """What `var/champion.json` says: release, fingerprint, digest, since when, the gate's report.

    Raises: ProjectError if no model is in service on this machine, or if the file is damaged.
    """
    path = project.root / CHAMPION
    if not path.exists():
        remedy = "Run: uv run mlops promote, or uv run mlops follow"
        raise ProjectError("No model is in service here.", remedy, code=4)
    return read_json(path, FOLLOW)


def read_pointer_if_any(project: Project) -> dict[str, Any]:
    """`in_service`, but empty where that raises: for those who write the file again."""
    with suppress(ProjectError):
        return read_pointer(project)
    return {}


def put_in_service(project: Project, pointer: Mapping[str, Any]) -> None:
    """Let the service of this machine use another champion.

    This is one write of `var/champion.json`, which the service notices.
    """
    write_json(project.root / CHAMPION, pointer)


def model_path(project: Project, fingerprint: str) -> Path:
    """The folder in which the model of a release lies on this machine, if it is here."""
    return project.root / MODELS / fingerprint


def find(project: Project, fingerprint: str) -> Path:
    """The folder of a champion. Raises: ProjectError if it is not on this machine."""
    folder = model_path(project, fingerprint)
    if not folder.exists():
        raise ProjectError(f"The champion {fingerprint[:8]} is not on this machine.", FOLLOW)
    return folder


def other_contract(project: Project, pointer: Mapping[str, Any]) -> str:
    """Why this code may not serve a champion; empty if its contract is that of the code.

    A request is checked by the contract that is deployed. A model that was made for another one
    would be asked about columns that it does not know.

    Raises: ProjectError as `find`, or if the model's folder is damaged.
    """
    stored = read_json(find(project, pointer["fingerprint"]) / CONTRACT, OF_BEFORE)
    differences = project.contract.differences(stored)
    if not differences:
        return ""
    shown = "; ".join(differences[:MAX_SHOWN])
    if len(differences) > MAX_SHOWN:
        shown += f"; and {len(differences) - MAX_SHOWN} more"
    commit = str(pointer.get("commit", ""))[:12] or "of the release"
    return (
        f"{pointer['release']} was made for another contract than the deployed one ({shown})."
        f" Deploy the service anew, from commit {commit}."
    )


def load_served(project: Project, pointer: Mapping[str, Any]) -> Scorer:
    """Load the champion that `var/champion.json` names.

    It must be the recorded model, judged and signed, made for the deployed contract, and this
    environment must be able to read it.

    Raises: ProjectError `serving.verdict`, `serving.digest`, `serving.contract`,
    `serving.signature` or `serving.library`, or as `find`.
    """
    folder = find(project, pointer["fingerprint"])
    require_verdict(pointer)
    verified(folder, pointer["digest"])
    if reason := other_contract(project, pointer):
        raise ProjectError(f"{OTHER_CONTRACT}: {reason}")
    require_libraries(require_signature(project, folder))
    return load(folder, project.contract)


def load_signed(project: Project, folder: Path, digest: str | None = None) -> Scorer:
    """Load a released model that is not in service.

    It is the champion to beat, or a model whose prediction is explained.

    Raises: ProjectError `serving.digest` if `digest` is given and the model has another one,
    `serving.signature` unless somebody whom the team trusts has signed the model.
    """
    if digest is not None:
        verified(folder, digest)
    return load(require_signature(project, folder), project.contract)


def require_verdict(pointer: Mapping[str, Any]) -> None:
    """Check that the gate let just these bytes pass, or that somebody overrode it.

    The verdict is computed again from the stored checks. Raises: ProjectError `serving.verdict`.
    """
    release = pointer["release"]
    stored = pointer.get("report")
    if not isinstance(stored, Mapping):
        raise ProjectError(
            f"serving.verdict: {release} was never judged.",
            "Train and promote: uv run dvc repro",
        )
    report = Report.from_dict(stored)
    judged_digest = str(report.facts.get("model"))
    digest = pointer["digest"]
    if judged_digest != digest:
        raise ProjectError(
            f"serving.verdict: the verdict on {release} is about another model"
            f" ({judged_digest[:8]}, not {digest[:8]})."
        )
    if report.verdict is not Verdict.OK and not pointer.get("override"):
        raise ProjectError(
            f"serving.verdict: the gate says {report.verdict} of {release},"
            " and its verdict was not overridden."
        )


def require_libraries(folder: Path) -> None:
    """Check that this environment has the versions that wrote the model.

    Raises: ProjectError `serving.library`.
    """
    for requirement in (folder / "requirements.txt").read_text(encoding="utf-8").split():
        name, _, wanted = requirement.partition("==")
        try:
            present = version(name)
        except PackageNotFoundError:
            present = "absent"
        parts = COMPARED_PARTS.get(name, 2)
        if present.split(".")[:parts] != wanted.split(".")[:parts]:
            raise ProjectError(
                f"serving.library: the model needs {name} {wanted}, here it is {present}.",
                f"Install what it was trained with (uv add {requirement}),"
                " or train again: uv run dvc repro --force train",
            )
