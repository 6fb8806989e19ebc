"""params.yaml overrides defaults; a name or a value in it that is wrong is one sentence."""

from pathlib import Path

import pytest

from mlgates import ProjectError
from mlgates.settings import RENAMED, SECTIONS, Settings, SliceLimits, read, shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("gate: {marign: 1}", "gate.marign is not a parameter.\n  Did you mean 'margin'"),
        ("gaet: {margin: 1}", "no section 'gaet'.\n  Did you mean 'gate'"),
        ("gate: {margin: much}", "gate.margin is 'much'. Input should be a valid number"),
        ("gate: {margin: '1'}", "gate.margin is '1'. Input should be a valid number"),
        ("gate: {margin: -0.1}", "gate.margin is -0.1. Input should be greater than or equal to 0"),
        ("gate: {margin: .nan}", "gate.margin is nan. Input should be greater than or equal to 0"),
        ("gate: {tune_blocking: 1}", "gate.tune_blocking is 1. Input should be a valid boolean"),
        ("gate: {waive: hour}", "gate.waive is 'hour'. Input should be a valid list"),
        (
            "gate: {slices: {origin=JFK: {marign: 1}}}",
            "gate.slices.origin=JFK.marign is not a parameter",
        ),
        ("gate: 3", "section 'gate' must hold names and values"),
        ("train: {periods: 0}", "train.periods is 0. Input should be greater than or equal to 1"),
        ("train: {periods: true}", "train.periods is True. Input should be a valid integer"),
        ("promote: {path: []}", "promote.path is ..\\. List should have at least 1 item"),
        ("[gate]", "must hold sections"),
        ("gate: [1", "not readable as YAML"),
    ],
)
def test_a_wrong_parameter_is_one_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ProjectError, match=sentence):
        read(tmp_path)


def test_parameters_override_defaults_and_the_model_section_is_free(tmp_path: Path) -> None:
    slices = "slices: {origin=JFK: {margin: 0.2}}"
    (tmp_path / "params.yaml").write_text(
        f"gate: {{margin: 1, {slices}}}\nmodel: {{anything: [1, 2]}}\ntrain:\n"
    )
    settings = read(tmp_path)
    assert settings.gate.margin == 1
    assert settings.gate.slices == {"origin=JFK": SliceLimits(margin=0.2)}
    assert settings.model == {"anything": [1, 2]}
    assert settings.gate.slice_margin == Settings().gate.slice_margin
    assert settings.train == Settings().train


@pytest.mark.parametrize("name", RENAMED)
def test_a_renamed_parameter_names_its_new_name(tmp_path: Path, name: str) -> None:
    section, old = name.split(".")
    (tmp_path / "params.yaml").write_text(f"{section}: {{{old}: 0.1}}")
    with pytest.raises(ProjectError, match=f"is now called {section}.{RENAMED[name]}"):
        read(tmp_path)
    known = SECTIONS[section].__pydantic_fields__  # type: ignore[attr-defined]
    assert RENAMED[name] in known and old not in known


def test_every_setting_is_shown_with_its_value_its_origin_and_its_meaning(tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("gate: {margin: 0.5}\nmodel: {max_iter: 7}")
    lines = {}
    for line in shown(tmp_path).text.splitlines():
        first_word = line.split()[0]
        lines[first_word] = line.split()
    assert lines["gate.margin"][1:3] == ["0.5", "params.yaml"]
    assert lines["gate.slice_margin"][1:3] == ["0.1", "default"]
    assert lines["model.max_iter"][1:3] == ["7", "params.yaml"]
    assert lines["gate.fairness_blocking"][1] == "true_positive"
    assert lines["group_calibration"] == ["group_calibration"], "a list has a line for each item"
    for section, kind in SECTIONS.items():
        for name, field in kind.__pydantic_fields__.items():  # type: ignore[attr-defined]
            assert field.description and f"{section}.{name}" in lines
