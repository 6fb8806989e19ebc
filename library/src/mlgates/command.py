"""How a verb or a stage is run from a command line: telemetry off, errors as sentences, exit codes."""

import gc
import os
import sys
from collections.abc import Callable

from mlgates.errors import UNWRITABLE, ProjectError

SETTINGS = {
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "GIT_PYTHON_REFRESH": "quiet",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
    "OMP_WAIT_POLICY": "passive",
}


def quiet_tools() -> None:
    """Turn every tool's telemetry and chatter off, and let OpenMP wait passively.

    To be called before the tools are imported.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def command_line(function: Callable[[], int]) -> int:
    """Run a verb or a stage; a ProjectError becomes one sentence on stderr and an exit code, Ctrl-C becomes 130."""
    quiet_tools()
    gc.set_threshold(50_000, 50)  # an import makes many objects and no garbage: a sixth of its time
    try:
        return function()
    except ProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        told = ": ".join(str(part) for part in (error.strerror, error.filename) if part)
        print(f"error: {told}.\n  Mend that, then run the same command again.", file=sys.stderr)
        return 1
