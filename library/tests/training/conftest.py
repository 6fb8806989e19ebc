"""The fixture that the tests of training share."""

import pytest

from mlgates import Project
from training_bench import Bench


@pytest.fixture(scope="module")
def bench(project: Project) -> Bench:
    """The sample project with its parameters."""
    return Bench(project, project.settings())
