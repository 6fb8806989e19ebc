"""What a GitHub workflow is told: its summary page and the outputs of a step. Does nothing anywhere else."""

import os
from pathlib import Path


def say(text: str) -> None:
    """Print, and show the same on the summary page of a GitHub workflow."""
    print(text)
    _append("GITHUB_STEP_SUMMARY", f"```\n{text}\n```\n")


def tell_ci(**outputs: str) -> None:
    """Hand outputs to the next step of a GitHub workflow; does nothing anywhere else."""
    _append("GITHUB_OUTPUT", "".join(f"{name}={value}\n" for name, value in outputs.items()))


def _append(setting: str, text: str) -> None:
    """Add to the file that an environment variable names, if it is set."""
    if path := os.environ.get(setting):
        with Path(path).open("a", encoding="utf-8") as file:
            file.write(text)
