"""The model in service: follows `var/champion.json`, and loads a model only after all checks.

`var/champion.json` names the recorded champion, `var/models/<fingerprint>/` holds its model. Its
digest, contract, verdict and signature are checked first: see `mlgates.trust.champion`.
"""

import logging
import time
from dataclasses import dataclass

from mlgates import model_folder
from mlgates.errors import ProjectError
from mlgates.layout import CHAMPION
from mlgates.project import Project
from mlgates.serving import prometheus
from mlgates.serving.compiled_trees import Score, fast
from mlgates.serving.prediction_log import log_columns
from mlgates.trust import champion, verify

logger = logging.getLogger("bentoml.mlops")
PAUSE = 5.0  # seconds until a champion that could not be loaded is tried again

FileState = tuple[int, int]  # time of the last change in nanoseconds, and inode


@dataclass(frozen=True)
class Champion:
    """A model in service. It is replaced as a whole and never changed."""

    release: str
    fingerprint: str
    digest: str
    scorer: model_folder.Scorer
    score: Score
    columns: dict[str, str]  # of the prediction log, with their SQLite types


class Follower:
    """Holds the champion in service. On any error the last good one stays."""

    def __init__(self, project: Project) -> None:
        """Nothing is loaded before the first `current`."""
        self.project = project
        self.pointer = project.root / CHAMPION
        self.served: Champion | None = None
        self.reason = ""  # why nothing is served although a champion is recorded
        self._loaded_state: FileState | None = None  # of the pointer; None: there is no file
        self._tried_state: FileState | None = None
        self._retry_at = 0.0  # on the monotonic clock

    def current(self) -> Champion | None:
        """The champion to use now, or None. Costs one `stat` unless another one was recorded."""
        try:
            status = self.pointer.stat()
            state = (status.st_mtime_ns, status.st_ino)
        except OSError:
            state = None
        if state != self._loaded_state:
            self._follow(state)
        return self.served

    def _follow(self, state: FileState | None) -> None:
        """Load the recorded champion, unless just this record failed a moment ago."""
        if state == self._tried_state and time.monotonic() <= self._retry_at:
            return
        self._tried_state = state
        self._retry_at = time.monotonic() + PAUSE
        try:
            self._load()
            self._loaded_state = state
            self.reason = ""
        except Exception as error:  # whatever it is, the service must keep answering
            self._refuse(error, is_recorded=state is not None)
        prometheus.BEHIND.set(state != self._loaded_state)

    def _load(self) -> None:
        """Put the recorded champion in service. Raises: ProjectError if a check refuses it."""
        record = champion.read_pointer(self.project)
        scorer = champion.load_served(self.project, record)
        self.served = Champion(
            release=record["release"],
            fingerprint=record["fingerprint"],
            digest=record["digest"],
            scorer=scorer,
            score=fast(scorer),
            columns=log_columns(self.project.contract, scorer.plan.names),
        )
        prometheus.RELEASE.clear()
        prometheus.RELEASE.labels(record["release"], record["fingerprint"]).set(1)
        prometheus.SWAPS.inc()
        logger.info("%s is in service.", record["release"])
        if not verify.trusted_keys(self.project):
            logger.warning(verify.UNSIGNED)

    def _refuse(self, error: Exception, *, is_recorded: bool) -> None:
        """Count and log why the recorded champion could not be loaded."""
        check = str(error).partition(":")[0]  # the messages of checks begin with their name
        if check == champion.OTHER_CONTRACT:
            # The record asks for another contract than the deployed one. The model that is still
            # loaded would answer requests that were checked by the wrong contract.
            self.served = None
        self.reason = _reason(error) if is_recorded else ""

        prometheus.FOLLOW_ERRORS.inc()
        label = check if check.startswith("serving.") else "other"
        prometheus.MODELS_REFUSED.labels(label).inc()

        consequence = "no model is in service"
        if self.served is not None:
            consequence = f"{self.served.release} stays in service"
        message = " ".join(str(error).split())  # one line of the log
        logger.error("The recorded champion could not be loaded, so %s. %s", consequence, message)


def _reason(error: Exception) -> str:
    """Why a recorded champion is not served, for callers: without a path of this machine."""
    if not isinstance(error, ProjectError):  # its text may quote a path, and may be empty
        return f"The recorded champion could not be loaded: {type(error).__name__}"
    message = str(error).splitlines()[0]
    prefix = f"{champion.OTHER_CONTRACT}: "
    if message.startswith(prefix):
        return message.removeprefix(prefix)
    return f"The recorded champion could not be loaded: {message}"
