"""Print the folder of programs of the environment that tests share.

It holds a project's tools, and mlgates from `library/`.

For work on the library: `$(python -m scripts.environment)/python -m pytest library/tests`.
"""

import sys
import tempfile
from pathlib import Path

from tests.projects import copy, environment, publish


def main() -> int:
    """Make the environment if it is not there yet, and print where its programs are."""
    with tempfile.TemporaryDirectory() as folder:
        template = publish(Path(folder) / "copier-mlops")
        print(environment(copy(template, Path(folder) / "late-flights") / "pyproject.toml"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
