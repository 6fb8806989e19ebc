"""What Prometheus reads at /metrics.

The server's own metrics are off, because they grow without end: by one for every unknown path.
"""

import os

# One worker: values live in the process. BentoML's shared folder is emptied whenever another
# service starts. prometheus_client looks at this variable while it is imported.
os.environ.pop("PROMETHEUS_MULTIPROC_DIR", None)

from prometheus_client import CONTENT_TYPE_LATEST, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = CONTENT_TYPE_LATEST
REQUESTS = Counter("mlops_requests", "Requests to /predict", ["code"])
SECONDS = Histogram(
    "mlops_request_seconds",
    "Time to answer",
    buckets=[0.001 * 2**power for power in range(14)],  # from 1 ms to 8 s
)
ROWS = Counter("mlops_rows", "Rows answered and logged")
REFUSED = Counter("mlops_refused", "Faults in refused rows, by rule", ["rule"])
LOOKUPS = Counter(
    "mlops_lookups", "Rows looked up: found, missing or too_old", ["lookup", "result"]
)
AGE = Gauge("mlops_lookup_age_seconds", "Oldest row that the last request looked up", ["lookup"])
LOG_FAILURES = Counter(
    "mlops_log_failures", "Requests refused because the prediction log could not be written"
)
RELEASE = Gauge("mlops_release_info", "The served release", ["release", "fingerprint"])
SWAPS = Counter("mlops_swaps", "Releases taken into service")
FOLLOW_ERRORS = Counter("mlops_follow_errors", "Recorded champions that could not be loaded")
MODELS_REFUSED = Counter(
    "mlops_models_refused", "Recorded champions that were refused, by check", ["check"]
)
BEHIND = Gauge("mlops_behind", "1 while the served release is not the recorded one")


def page() -> bytes:
    """All of them, and those of the process, in Prometheus' text format."""
    return generate_latest()
