"""What was served, and what came true, against what the model was trained on."""

from mlgates.monitoring.drift import Comparison
from mlgates.monitoring.watch import Watched, watch_champion, write

__all__ = ["Comparison", "Watched", "watch_champion", "write"]
