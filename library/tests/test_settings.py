"""Parameters: defaults that params.yaml overrides; what is misspelt is named."""

from pathlib import Path

import pytest

from mlgates import ProjectError
from mlgates.settings import params


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gate: {marign: 1}", "Did you mean 'margin'"),
        ("gaet: {margin: 1}", "Did you mean 'gate'"),
        ("gate: {margin: much}", "is expected"),
        ("gate: [1", "not readable as YAML"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ProjectError, match=sentence):
        params(tmp_path)


def test_parameters_override_defaults_and_the_model_section_is_free(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("gate: {margin: 1}\nmodel: {anything: [1, 2]}\n")
    merged = params(tmp_path)
    assert merged["gate"]["margin"] == 1 and merged["model"] == {"anything": [1, 2]}
