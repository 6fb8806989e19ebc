"""What dvc.lock says of a stage's files is read by path; a file without a hash has none."""

from mlgates.lineage import stage_files

ENTRY = {
    "cmd": "train",
    "deps": [{"path": "data/checked", "md5": "1"}, {"path": "params.yaml"}],
    "outs": [{"path": "models/candidate", "md5": "2"}],
}


def test_inputs_and_outputs_are_told_apart() -> None:
    assert stage_files.inputs(ENTRY) == {"data/checked": "1", "params.yaml": None}
    assert stage_files.outputs(ENTRY) == {"models/candidate": "2"}


def test_a_stage_may_have_no_files() -> None:
    assert stage_files.inputs({"cmd": "train"}) == {}
    assert stage_files.outputs({"cmd": "train"}) == {}
