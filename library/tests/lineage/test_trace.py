"""What `mlops trace` says of the parameters of a release."""

import json
from dataclasses import replace

from clones import Clone
from mlgates.lineage.trace import used_parameters
from mlgates.registry import releases


def test_a_default_that_only_the_report_of_training_names_is_a_parameter(reigning: Clone) -> None:
    """dvc.lock has what the team wrote into params.yaml; a default of the library stands in reports/train.json."""
    first = releases.read(reigning.project).releases[-1]
    path = reigning.root / "reports/train.json"
    trained = json.loads(path.read_text())
    trained["params"] = {"train": {"holdout": 0.25}}
    path.write_text(json.dumps(trained))
    reigning.commit()
    second = replace(first, commit=reigning.git("rev-parse", "HEAD"))
    before, after = (
        used_parameters(reigning.project, first),
        used_parameters(reigning.project, second),
    )
    assert "model.gain" in before
    assert {name for name in before | after if before.get(name) != after.get(name)} == {
        "train.holdout"
    }
    assert after["train.holdout"] == 0.25
