"""Somebody asks to be forgotten: tombstones, and what the pipeline makes of them."""

import threading
from dataclasses import replace
from pathlib import Path

import pandas as pd

from clones import Clone, refusal
from mlgates.data import tombstones
from mlgates.privacy import erase as module
from mlgates.privacy.erase import erase
from mlgates.registry import training_cycle
from mlgates.registry.status import status
from traces import traces

ADA, BOB = "Xq9ZunmistakableAda", "Kj7VanotherBob"


def test_what_is_in_service_is_retrained_first(before: Clone) -> None:
    project = before.project
    assert "Retrain it" in erase(project, [ADA], column="customer")
    assert "Not committed: erased.csv" in refusal(erase, project, [], purges=True)
    before.commit("Erase")
    assert "ingest must run" in refusal(erase, project, [], purges=True)
    assert "uv run mlops close 3" in status(project)[0].text
    before.repro()
    before.commit("Retrain")
    kept = traces(before, ADA)
    message = refusal(erase, project, [], purges=True)
    trained = "bakery@v1.0.0 is champion and was trained on erased rows"
    assert f"{trained} (its training data hold them). Nothing was purged." in message
    assert traces(before, ADA) == kept
    assert not before.git("tag", "--list", "*!")
    training_cycle.close(project, "3")
    # so old that an equal model may replace it
    assert f"age: {training_cycle.OVERDUE}" in (before.root / "cycle.yaml").read_text()


def test_dvc_repro_forgets_in_everything_that_it_makes(before: Clone) -> None:
    erase(before.project, [ADA], column="customer")
    before.repro()
    assert traces(before, ADA, "ada/data") == traces(before, ADA, "ada/models") == []
    quarantine = before.root / "data/checked/period=2/rows.quarantine.parquet"
    assert pd.read_parquet(quarantine).empty
    cycle = before.root / "cycle.yaml"
    cycle.write_text(cycle.read_text().replace("'3'", "'4'"))
    (before.root / "data/raw/period=1").rename(before.around / "delivered again")
    before.repro("ingest", "validate")
    assert traces(before, ADA, "ada/data") == []


def test_nothing_found_is_nothing_written(before: Clone) -> None:
    project, file = before.project, before.root / "erased.csv"
    written = file.read_bytes(), before.git("status", "--porcelain")
    nobody = refusal(erase, project, ["nobody"], column="customer")
    assert "Nothing was found for customer = nobody" in nobody
    assert "no column 'custmer'" in refusal(erase, project, [ADA], column="custmer")
    one_value_each = "does not give one value for each of: customer, order"
    assert one_value_each in refusal(erase, project, [ADA])
    without_key = replace(project.contract, key=[])
    assert "names no key" in refusal(module._id_columns, without_key, None)
    assert "Nothing was ever erased" in refusal(erase, project, [])
    assert (file.read_bytes(), before.git("status", "--porcelain")) == written
    (before.root / "data").rename(before.around / "elsewhere")
    assert "uv run dvc pull" in refusal(erase, project, ["nobody"], column="customer")


def test_ids_are_keys_values_or_lines_of_a_file(before: Clone, tmp_path: Path) -> None:
    project, listed = before.project, tmp_path / "ids.csv"
    message = erase(project, [f"{ADA},1", f"{BOB},99"])
    assert "1 tombstones" in message
    assert f"Not found: {BOB},99" in message
    ids = pd.DataFrame({"order": [2, 3], "customer": [BOB, "eve"]})
    ids.to_csv(before.root / "ids.csv")
    ids.to_csv(listed)
    assert "where git would keep it" in refusal(erase, project, [], before.root / "ids.csv")
    (tmp_path / "gaps.csv").write_text(f"customer,order\n{BOB},\neve,3\n")
    incomplete = refusal(erase, project, [], tmp_path / "gaps.csv")
    assert "1 of 2 lines lack an id. Nothing was written." in incomplete
    assert "2 tombstones" in erase(project, [], listed)
    again = "0 tombstones written to erased.csv, 2 were there already"
    assert again in erase(project, [], listed)
    first = tombstones.read(project, project.contract).entries[0]
    assert (first.columns, first.periods) == (("customer", "order"), ("1",))
    text = (before.root / "erased.csv").read_text()
    assert ADA not in text
    assert BOB not in text
    before.repro("ingest")
    raw = pd.read_parquet(before.root / "data/raw/period=1/rows.parquet")
    assert raw["customer"].tolist() == ["fay", "gil"]


def test_two_at_once_both_write(before: Clone) -> None:
    def forget(person: str) -> None:
        erase(before.project, [person], column="customer")

    threads = [threading.Thread(target=forget, args=[person]) for person in (ADA, BOB, "eve")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tombstones.read(before.project, before.project.contract).entries) == 3
