"""`mlops status`: who is champion, and which commands wait."""

import pytest

from clones import Clone
from mlgates.registry.promote import promote
from mlgates.registry.status import status


def waiting(clone: Clone) -> list[str]:
    """The commands that wait, most urgent first."""
    lines = status(clone.project)[0].partition("because\n")[2].splitlines()
    return [line.split("  ")[0] for line in lines]


@pytest.mark.usefixtures("no_mlflow")
def test_status_says_what_waits(ada: Clone) -> None:
    text, outputs = status(ada.project)
    assert "nobody yet" in text
    commit = ada.git("rev-parse", "HEAD")
    assert outputs == {"waits": "promote close", "commit": commit, "period": "2"}
    assert waiting(ada) == ["uv run mlops promote", "uv run mlops close"]
    promote(ada.project, reason="the first")
    assert "by Ada: the first" in status(ada.project)[0]
    assert waiting(ada) == ["uv run mlops close"]
    (ada.root / "var/champion.json").unlink()
    (ada.root / "params.yaml").write_text("model: {gain: 0.2}\ngate: {}\n")
    assert waiting(ada) == [
        "uv run dvc repro",
        "git add -A && git commit -m TEXT",
        "uv run mlops follow",
        "uv run mlops close",
    ]
    ada.repro()
    ada.git("commit", "--quiet", "-a", "-m", "other")
    assert waiting(ada)[:2] == ["git push", "uv run mlops close 2"]
