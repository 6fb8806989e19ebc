"""How a stage of this project is run: `python -m bakery.train`."""

import os
import sys
from collections.abc import Callable

from mlgates import Project


def run(main: Callable[[Project], None]) -> None:
    """Run a stage, and leave at once.

    pyarrow's threads, just started, may abort so short a process at its end.
    """
    main(Project.find())
    sys.stdout.flush()
    os._exit(0)
