"""Where things lie in a project, relative to its root. One place for every path."""

from pathlib import Path

# What the stages write
MANIFEST = Path("reports/manifest.json")
SUITE = Path("reports/suite.json")
VALIDATION = Path("reports/validate.json")
TRAINING = Path("reports/train.json")
TUNING = Path("reports/tuning.json")
FEATURES = Path("reports/features")
STALENESS = Path("reports/age.json")
METRICS = Path("reports/metrics.json")
PICTURES = Path("reports/pictures")
CARD = Path("reports/card.md")
BOM = Path("reports/bom.json")
GATE = Path("reports/gate.json")
GATE_PAGE = Path("reports/gate.html")
CANDIDATE = Path("models/candidate")
LIBRARY = Path("models/library")  # the wheel of the mlgates that judged the candidate
BASELINES = Path("models/baselines")
EVALUATION = Path("data/evaluation.parquet")
HOLDOUT = Path("data/holdout.parquet")
REFERENCE = "reference.parquet"  # inside of a model's folder

# What the team commits beside its code
KEYS = Path("keys")
ERASED = "erased.csv"

# State of this machine
MODELS = Path("var/models")
CHAMPION = Path("var/champion.json")
TRACKED = Path("var/tracked.json")
ONLINE_STORE = Path("var/online.db")
PREDICTIONS = Path("var/predictions")
OUTCOMES = Path("var/outcomes.db")
MONITOR = Path("var/monitor")
WHEELS = Path("wheels")  # what `mlops wheel` leaves for `bentoml build`, which looks for this name
