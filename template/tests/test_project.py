"""What every project made from the template promises. The promises are mlgates' own; your tests go into other files."""

import pytest

from mlgates import Project
from mlgates.testing import PROMISES, Promise, Rehearsal


@pytest.fixture(scope="module")
def rehearsal(tmp_path_factory: pytest.TempPathFactory) -> Rehearsal:
    """The project's stages on a few of its own rows, in a folder of their own; each runs when it is first needed."""
    return Rehearsal(Project.find(), tmp_path_factory.mktemp("rehearsal") / "project")


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
def test_a_promise_of_the_template_is_kept(promise: Promise, rehearsal: Rehearsal) -> None:
    promise(rehearsal)
