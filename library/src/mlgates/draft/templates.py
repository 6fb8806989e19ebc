"""The text of the drafted files, with holes in braces.

A backslash at the end of a line joins it with the next one: the drafted line is longer than a line
here may be.
"""

SCHEMA = '''"""What a row is: drafted from {label}.

Bounds have head-room. Units, owner and privacy are yours to write.
"""

{imports}
from pydantic import BaseModel{field}

from mlgates.contract import About, Contract


class Request(BaseModel):
    """What a caller knows when asking for a prediction."""

{request}


class Outcome(BaseModel):
    """What is to be predicted: known only later."""

{outcome}


contract = Contract({roles})
'''

DATA = '''"""Where rows come from: {label}.

Drafted. A period is {unit}.
"""

{imports}

{source}
COLUMNS = """
{columns}
"""
PERIODS = {{  # a new one is another line
{periods}
}}


def periods() -> list[str]:
    """The periods that exist, oldest first."""
    return list(PERIODS)


def read(period: str) -> pd.DataFrame:
    """The rows of one period, with their outcome."""
{read}
'''

READ_FILE = """\
    {first}, {second} = PERIODS[period]
    path = Project.find().root / SOURCE
    if not path.exists():
        raise ProjectError(f"{{SOURCE}} is not on this machine.", \
"Only a new period needs it: uv run dvc pull")
    where = ({where})
    sql = f"SELECT * FROM (SELECT {{COLUMNS}} FROM {{READ}}) WHERE {{where}}"
    with duckdb.connect() as database:
        database.execute("SET enable_progress_bar = false")
        return database.execute(sql, {{"source": str(path), "a": {first}, "b": {second}}}).df()"""

READ_DATABASE = """\
    first, last = PERIODS[period]
    if "{variable}" not in os.environ:
        raise ProjectError("{variable} is not set.", \
"Only a new period needs the database: uv run dvc pull")
    where = ({where})
    sql = f"SELECT * FROM (SELECT {{COLUMNS}} FROM chunk) WHERE {{where}}"
    parts = []
    with sa.create_engine(os.environ["{variable}"]).connect() as connection, \
duckdb.connect() as database:
        answer = connection.execution_options(stream_results=True)
        for chunk in pd.read_sql(sa.text(QUERY), answer, chunksize=50_000):
            database.register("chunk", chunk)
            parts.append(database.execute(sql, {{"a": first, "b": last}}).df())
    return pd.concat(parts, ignore_index=True)"""

FEATURES_MEANING = """The features: each function is one feature.

Its name is the feature's name. Its arguments are columns or other features. It works on arrays,
for one row as for ten million.
"""

FEATURES = '''"""{meaning}"""

AS_IS = {names}
'''

TEST = '''"""Tests of this team's features: a feature is a function, so a test is a plain call."""

from {package} import features
from {package}.schema import contract


def test_what_is_used_as_it_is_stands_in_the_request_and_is_allowed() -> None:
    assert set(features.AS_IS) <= set(contract.request_columns)
    assert not [name for name in features.AS_IS if contract.why_forbidden(name)]
'''

ASK = "Ask the service:\n\n```\n{}\n```\n"
CURL = "curl -s http://localhost:3000/predict -H 'Content-Type: application/json' -d '{\"rows\": [{"

MODEL_MEANING = """The estimator.

What must be fitted, such as an encoder or a scaler, belongs inside it. Then it is fitted once and
stored with the estimator.
"""

MODEL = '''"""{meaning}"""

from collections.abc import Mapping
from typing import Any

{imports}

SEARCH = {search}


def build(params: Mapping[str, Any], categorical: list[int], seed: int) -> {returns}:
    """An unfitted estimator.

    `params` is the section `model` of params.yaml. `categorical` lists the positions of the
    features that are categories.
    """
{body}
'''

TREES = """\
    settings = {settings}
    return {name}(**settings, categorical_features=categorical, random_state=seed)"""

LINEAR = """\
    numbers = make_pipeline(SimpleImputer(keep_empty_features=True), StandardScaler())
    words = OneHotEncoder(handle_unknown="ignore", min_frequency=5)
    columns = make_column_transformer((words, categorical), remainder=numbers)
    settings = {settings}
    return {returned}"""

SHAPED = """\
from sklearn.compose import {compose}
from sklearn.impute import SimpleImputer
from sklearn.linear_model import {name}
from sklearn.pipeline import {pipeline}
from sklearn.preprocessing import OneHotEncoder, StandardScaler"""
