"""What every project made from the template promises. The library mlgates defines the promises.

Your own tests go into other files. pytest-xdist runs the tests of one class in one process, so the
two classes run side by side.
"""

import pytest

from mlgates import Project
from mlgates.testing import SERVICE_PROMISES, STAGE_PROMISES, Promise, Rehearsal


@pytest.fixture(scope="class")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """The project's stages on a few of its own rows, in a folder of their own.

    Each stage runs when it is first needed.
    """
    return Rehearsal(Project.find(), tmp_path_factory.mktemp("rehearsal") / "project")


def name(promise: Promise) -> str:
    return promise.__name__


class TestStages:
    @pytest.mark.parametrize("promise", STAGE_PROMISES, ids=name)
    def test_a_promise_of_the_template_is_kept(
        self, promise: Promise, rehearsal: Rehearsal
    ) -> None:
        promise(rehearsal)


class TestServiceAndMonitor:
    @pytest.mark.parametrize("promise", SERVICE_PROMISES, ids=name)
    def test_a_promise_of_the_template_is_kept(
        self, promise: Promise, rehearsal: Rehearsal
    ) -> None:
        promise(rehearsal)
