"""Follow the record: `var/champion.json` names the champion, `var/models/<fingerprint>/` holds it, a digest vouches."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from mlgates import model_folder
from mlgates.errors import ProjectError
from mlgates.layout import CHAMPION
from mlgates.project import Project
from mlgates.serving import prometheus
from mlgates.serving.compiled_trees import fast
from mlgates.serving.prediction_log import types
from mlgates.trust import champion, verify

logger = logging.getLogger("bentoml.mlops")
PAUSE = 5.0  # seconds until a champion that could not be loaded is tried again


@dataclass(frozen=True)
class Champion:
    """A model in service: replaced whole, never changed."""

    release: str
    fingerprint: str
    digest: str
    scorer: model_folder.Scorer
    score: Callable[[np.ndarray], np.ndarray]
    columns: dict[str, str]


class Follower:
    """Holds the champion in service. On any error the last good one stays."""

    def __init__(self, project: Project) -> None:
        """Nothing is loaded before the first `current`."""
        self.project = project
        self.pointer = project.root / CHAMPION
        self.served: Champion | None = None
        self.reason = ""  # why nothing is served although a champion is recorded
        self._seen: tuple[int, int] | None = None
        self._tried: tuple[tuple[int, int] | None, float] = (None, 0.0)

    def current(self) -> Champion | None:
        """The champion to use now; costs one `stat` unless another one was recorded."""
        try:
            state = self.pointer.stat()
            mark = (state.st_mtime_ns, state.st_ino)
        except OSError:
            mark = None
        if mark != self._seen and (mark != self._tried[0] or time.monotonic() > self._tried[1]):
            self._tried = (mark, time.monotonic() + PAUSE)
            try:
                self._swap()
                self._seen = mark
                self.reason = ""
            except Exception as error:
                prometheus.FOLLOW_ERRORS.inc()
                check = str(error).partition(":")[0]
                if (
                    check == champion.OTHER_CONTRACT
                ):  # an answer would be checked by the wrong contract
                    self.served = None
                self.reason = _reason(error) if mark else ""
                prometheus.MODELS_REFUSED.labels(
                    check if check.startswith("serving.") else "other"
                ).inc()
                kept = (
                    f"{self.served.release} stays in service"
                    if self.served
                    else "nothing is served"
                )
                logger.error(
                    "The recorded champion is not taken, %s: %s", kept, " ".join(str(error).split())
                )
            prometheus.BEHIND.set(mark != self._seen)
        return self.served

    def _swap(self) -> None:
        record = champion.in_service(self.project)
        scorer = champion.load_served(self.project, record)
        known = types(self.project.contract, scorer.plan.names)
        identity = (record["release"], record["fingerprint"], record["digest"])
        self.served = Champion(*identity, scorer, fast(scorer), known)
        prometheus.RELEASE.clear()
        prometheus.RELEASE.labels(record["release"], record["fingerprint"]).set(1)
        prometheus.SWAPS.inc()
        logger.info("%s is in service.", record["release"])
        if not verify.keys(self.project):
            logger.warning(verify.UNSIGNED)


def _reason(error: Exception) -> str:
    """What a caller is told of a champion that is recorded and not served; no path of this machine."""
    if not isinstance(error, ProjectError):  # its words may quote a path, and may be none at all
        return f"The recorded champion could not be loaded: {type(error).__name__}"
    message = str(error).splitlines()[0]
    if message.startswith(f"{champion.OTHER_CONTRACT}: "):
        return message.removeprefix(f"{champion.OTHER_CONTRACT}: ")
    return f"The recorded champion could not be loaded: {message}"
