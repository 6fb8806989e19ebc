"""How a verb or a stage is run from a command line.

Telemetry is off, an error is a sentence, and the exit code says how it went.
"""

import gc
import io
import os
import sys
from collections.abc import Callable

from mlgates.errors import UNWRITABLE, ProjectError

# Environment variables for the tools. None sends telemetry; none waits or prints more than needed.
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
    """Turn off every tool's telemetry and needless output, and let OpenMP wait passively.

    Call it before the tools are imported: they read these variables then. A variable that the user
    has set stays.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


def survive_any_encoding() -> None:
    """Write `?` for a character that the terminal's encoding lacks, in place of an error."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a test or a notebook may have put another there
            stream.reconfigure(errors="replace")


def command_line(function: Callable[[], int]) -> int:
    """Run a verb or a stage; returns its exit code.

    An error that a user can do something about becomes a sentence on stderr and an exit code: a
    ProjectError its own, a file that cannot be written 1, Ctrl-C 130.
    """
    quiet_tools()
    survive_any_encoding()
    # Collect garbage less often: an import makes many objects and no garbage, and searching them
    # takes a sixth of its time.
    gc.set_threshold(50_000, 50)
    try:
        return function()
    except ProjectError as error:
        print(f"error: {error}", file=sys.stderr)
        return error.code
    except KeyboardInterrupt:
        print("Interrupted. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the program that reads our output has ended, as `head` does
        sys.stderr.close()
        return 1
    except OSError as error:
        if error.errno not in UNWRITABLE:
            raise
        message = str(error.strerror)
        if error.filename:
            message += f": {error.filename}"
        print(f"error: {message}.\n  Fix that, then run the same command again.", file=sys.stderr)
        return 1
