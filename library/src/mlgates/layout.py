"""Where things lie in a project, relative to its root. One place for every path."""

from pathlib import Path

# What the team and the template write, and what DVC and uv say of it
PYPROJECT = Path("pyproject.toml")
PIPELINE = Path("dvc.yaml")
PARAMS = Path("params.yaml")
CYCLE = Path("cycle.yaml")
DVC_LOCK = Path("dvc.lock")
UV_LOCK = Path("uv.lock")
DVC_CONFIG = Path(".dvc/config.local")  # of this machine alone
SOURCES = Path("src")
VENDOR = Path("vendor/mlgates")  # where `mlops eject` puts the library
KEYS = Path("keys")
ERASED = "erased.csv"

# What the stages write
DATA = Path("data")
RAW = DATA / "raw"
CHECKED = DATA / "checked"
TRAINING_ROWS = DATA / "training.parquet"  # split and joined once, by train
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
REFERENCE = "reference.parquet"  # inside of a model's folder

# State of this machine
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
SERVE_LOG = STATE / "serve.log"
SERVING_ENVIRONMENT = STATE / "serving-environment"  # with the libraries of a service alone
SIMULATED = STATE / "simulate"  # the pages that a simulation leaves behind
ASIDE = STATE / "aside"  # an MLflow store that cannot be read any more
MLFLOW_DATABASE = Path("mlflow.db")  # at the root, where bare `mlflow ui` looks
MLFLOW_ARTIFACTS = STATE / "mlartifacts"
MLFLOW_BEGUN = STATE / "mlflow.begun"  # there while the database is made
WHEELS = Path("wheels")  # what `mlops wheel` leaves for `bentoml build`, which looks for this name

# What `mlops draft` reads and writes
GIVEN = DATA / "source"  # the team's own table, which git does not keep
DRAFTS = STATE / "drafts"  # what a draft has replaced
DUCKDB = STATE / "duckdb"  # what does not fit into memory


def source(package: str, module: str) -> Path:
    """The file of a module of the team's package: "features", "pipeline.gate"."""
    return SOURCES / package / f"{module.replace('.', '/')}.py"


def prediction_logs(root: Path) -> list[Path]:
    """The prediction log of this machine: a file for each worker of the service."""
    return sorted((root / PREDICTIONS).glob("*.db"))
