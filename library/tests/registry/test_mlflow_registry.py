"""MLflow shows what the record says: filled from it, and corrected by it."""

from clones import Clone
from mlgates import Project
from mlgates.registry.mlflow_client import open_store
from mlgates.registry.mlflow_registry import mirror
from mlgates.registry.promote import promote

MODEL_FILES = ["model/MLmodel", "model/contract.json", "model/features.json", "model/model.txt"]


def shown(project: Project) -> tuple[list[str], str]:
    """The releases that MLflow shows, oldest first, and the one that is champion there."""
    store = open_store(project)
    versions = store.search_model_versions("name = 'tiny'")
    champion = store.get_model_version_by_alias("tiny", "champion")
    assert [entry.path for entry in store.list_artifacts(champion.run_id, "model")] == MODEL_FILES
    place = store.get_experiment(store.experiment).artifact_location
    assert str(project.root.resolve()) in place
    in_order = sorted(versions, key=lambda version: int(version.version))
    return [version.tags["release"] for version in in_order], champion.tags["release"]


def test_mirror_fills_a_moved_a_deleted_and_a_fresh_store(reigning: Clone) -> None:
    assert "1 versions added, 1 aliases set" in mirror(reigning.project)
    assert "there was nothing to do" in mirror(reigning.project)

    moved = reigning.root.rename(reigning.root.with_name("moved"))
    reigning = Clone(reigning.project.moved(moved))
    assert "1 versions added" in mirror(reigning.project)
    assert (reigning.root / "var/aside").exists()

    reigning.retrain(0.2, close="2")
    promote(reigning.project)
    expected = (["v1.0.0", "v1.1.0"], "v1.1.0")
    assert shown(reigning.project) == expected

    store = open_store(reigning.project)
    store.set_registered_model_alias("tiny", "champion", "1")
    message = mirror(reigning.project)
    assert "Somebody moved champion by hand in MLflow, from v1.1.0 to v1.0.0" in message
    assert "it is v1.1.0 again" in message
    assert shown(reigning.project) == expected

    bob = reigning.clone("bob")
    assert "2 versions added" in mirror(bob.project)
    assert shown(bob.project) == expected
