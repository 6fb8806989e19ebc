"""track: the last stage. One MLflow run for each model: parameters, numbers, pictures, verdict; trials below it."""

from ..pipeline.card import BOM, CARD
from ..pipeline.measured import AGE, FEATURES, TUNING
from ..pipeline.train import CANDIDATE
from ..project import command_line, find_root, read_json, write_json, yours
from ..scoring import described as described_model
from .record import fingerprint, locked
from .window import described, home, log_trials, open_store, upsert_run


def main() -> int:
    """Run the stage; a model that reads a barred column is not logged.

    `var/tracked.json` holds the fingerprint alone, so that dvc.lock is the same on all machines.
    """
    root = find_root()
    described_model(root / CANDIDATE, yours().contract)
    reports, lock = root / "reports", locked(root)
    identity = fingerprint(lock)
    params, metrics, tags = described(lock, read_json(reports / "metrics.json"), read_json(reports / "gate.json"))
    files = {path.name: path for path in (reports / "gate.html", reports / "gate.json", reports / "metrics.json")}
    files |= {path.name: root / path for path in (CARD, BOM)}
    files |= {path.with_suffix(".svg").name: root / path.with_suffix(".svg") for path in (AGE, FEATURES)}
    pictures = {"pictures": reports / "pictures"}
    store = open_store(root)
    run = upsert_run(store, identity, params, metrics, tags, {"model": root / CANDIDATE, **files, **pictures})
    log_trials(store, run, read_json(root / TUNING))
    write_json(root / "var" / "tracked.json", {"fingerprint": identity})
    print(f"track: run {run} in {home(root).name}'s MLflow; look: uv run mlflow ui")
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
