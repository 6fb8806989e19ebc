"""Where things lie in a project, as paths relative to its root.

Every other module takes paths from here; a test checks that none writes one itself.
"""

from pathlib import Path

# What the team and the template write, and what DVC and uv record of it
PYPROJECT = Path("pyproject.toml")
PIPELINE = Path("dvc.yaml")
PARAMS = Path("params.yaml")
CYCLE = Path("cycle.yaml")
DVC_LOCK = Path("dvc.lock")
UV_LOCK = Path("uv.lock")
DVC_CONFIG = Path(".dvc/config.local")  # settings of this machine, which git ignores
SOURCES = Path("src")
VENDOR = Path("vendor/mlgates")  # where `mlops eject` puts the library
KEYS = Path("keys")
ERASED = "erased.csv"

# What the stages write
DATA = Path("data")
RAW = DATA / "raw"
CHECKED = DATA / "checked"
TRAINING_ROWS = DATA / "training.parquet"  # train splits and joins them, once for all stages
EVALUATION = DATA / "evaluation.parquet"
HOLDOUT = DATA / "holdout.parquet"
REPORTS = Path("reports")
MANIFEST = REPORTS / "manifest.json"
SUITE = REPORTS / "suite.json"
VALIDATION = REPORTS / "validate.json"
TRAINING = REPORTS / "train.json"
TUNING = REPORTS / "tuning.json"
FEATURES = REPORTS / "features"
STALENESS = REPORTS / "age.json"
METRICS = REPORTS / "metrics.json"
PICTURES = REPORTS / "pictures"
CARD = REPORTS / "card.md"
BOM = REPORTS / "bom.json"
GATE = REPORTS / "gate.json"
GATE_PAGE = REPORTS / "gate.html"
MADE = Path("models")
CANDIDATE = MADE / "candidate"
LIBRARY = MADE / "library"  # the wheel of the mlgates that judged the candidate
BASELINES = MADE / "baselines"
REFERENCE = "reference.parquet"  # in a model's folder

# State of this machine, which git ignores
STATE = Path("var")
MODELS = STATE / "models"
CHAMPION = STATE / "champion.json"
TRACKED = STATE / "tracked.json"
ONLINE_STORE = STATE / "online.db"
PREDICTIONS = STATE / "predictions"
OUTCOMES = STATE / "outcomes.db"
MONITOR = STATE / "monitor"
MONITOR_LATEST = MONITOR / "latest.json"
MONITOR_PAGE = MONITOR / "latest.html"
STORED_REPORTS = {"gate": GATE, "validate": VALIDATION, "monitor": MONITOR_LATEST}
SERVE_LOG = STATE / "serve.log"
SERVING_ENVIRONMENT = STATE / "serving-environment"  # has the libraries of a service alone
DURATIONS = STATE / "durations.json"  # how long each verb and each stage took the last time
PROOF = STATE / "prove" / "latest.json"
PROOF_PAGE = STATE / "prove" / "latest.html"
SIMULATED = STATE / "simulate"  # the pages that `mlops simulate` keeps
ASIDE = STATE / "aside"  # an MLflow store that can no longer be read is moved here
MLFLOW_DATABASE = Path("mlflow.db")  # at the root, where bare `mlflow ui` looks
MLFLOW_ARTIFACTS = STATE / "mlartifacts"
MLFLOW_BEGUN = STATE / "mlflow.begun"  # exists while the database is being created
WHEELS = Path("wheels")  # written by `mlops wheel`; `bentoml build` looks for this name

# What `mlops draft` reads and writes
GIVEN = DATA / "source"  # the team's own table, which git ignores
DRAFTS = STATE / "drafts"  # the files that a draft replaced
DUCKDB = STATE / "duckdb"  # where DuckDB puts what does not fit into memory


def source(package: str, module: str) -> Path:
    """The file of a module of the team's package, such as "features" or "pipeline.gate"."""
    return SOURCES / package / f"{module.replace('.', '/')}.py"


def prediction_logs(root: Path) -> list[Path]:
    """The files of this machine's prediction log: one for each worker of the service."""
    return sorted((root / PREDICTIONS).glob("*.db"))
