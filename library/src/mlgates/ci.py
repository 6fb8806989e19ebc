"""What a GitHub workflow reads from a command: its summary page, and the outputs of a step.

GitHub names the files to write to in environment variables. Elsewhere these are not set, and
nothing is written. https://docs.github.com/actions/reference/workflow-commands-for-github-actions
"""

import os
from pathlib import Path


def add_to_summary(text: str) -> None:
    """Show a text on the summary page of the present workflow, as it is."""
    _append_to_file_of("GITHUB_STEP_SUMMARY", f"```\n{text}\n```\n")


def set_outputs(**outputs: str) -> None:
    """Set outputs of the present workflow step, for later steps to read."""
    lines = [f"{name}={value}\n" for name, value in outputs.items()]
    _append_to_file_of("GITHUB_OUTPUT", "".join(lines))


def _append_to_file_of(variable: str, text: str) -> None:
    """Append a text to the file that an environment variable names, if the variable is set."""
    path = os.environ.get(variable)
    if not path:
        return
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(text)
