"""Gates for machine learning, each proven to bite: contract, statistics, record, faults."""

from mlgates.errors import ProjectError
from mlgates.project import Project

__all__ = ["Project", "ProjectError"]
