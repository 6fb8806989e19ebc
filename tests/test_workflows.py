"""The workflows of a generated project: valid, audited, and within a policy.

Every rule of the policy is seen to go red.

Not here yet: GitHub's language service (needs node) and runs under act. Nothing here has run on
GitHub either.
"""

import ast
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import pytest
import yaml

from .projects import LIBRARY, ROOT, copy, git

NAMES = ("cd", "ci", "cm", "ct", "mutation")
PINS: dict[str, dict[str, Any]] = yaml.safe_load(
    (ROOT / "tests/actions-pins.yml").read_text("utf-8")
)

# The policy. What is not listed is not allowed.
TRIGGERS: dict[str, dict[str, Any]] = {
    "ci": {"push": {"branches": ["main"]}, "pull_request": None, "workflow_dispatch": None},
    "cd": {"push": {"tags": ["v*"]}, "workflow_dispatch": None},
    "cm": {"schedule": 1, "workflow_dispatch": None},
    "mutation": {"schedule": 1, "workflow_dispatch": None},
    "ct": {
        "schedule": 1,
        "workflow_dispatch": ["reason"],
        "repository_dispatch": {"types": ["data-changed"]},
        "push": {
            "branches": ["main"],
            "paths": ["**.dvc", "cycle.yaml", "dvc.lock", "params.yaml"],
        },
    },
}
WRITES = {
    "ct.train": {"contents"},
    "ct.promote": {"contents", "id-token"},
    "cm.alarm": {"issues", "actions"},
}
ENVIRONMENTS = {"ct.promote": "model-production"}
LANES = {  # jobs that must not run by themselves, and what lets them
    "ct.promote": "contains(needs.train.outputs.waits, 'promote')",
    "cm.alarm": "needs.monitor.outputs.verdict != 'inconclusive'",
    "ci.ok": "always()",
}
SECRETS, VARIABLES = {"DVC_CONFIG_LOCAL", "MLOPS_SIGNING_KEY"}, {"MLFLOW_TRACKING_URI"}
VERB_OUTPUTS = {"monitor": {"verdict"}, "status": {"waits", "period", "commit"}}
TOOLS = {"bentoml", "dvc", "mlops", "mutmut", "mypy", "pytest", "ruff", "zizmor"}
OTHER_COMMANDS = (
    "uv sync --locked",
    "git ",
    'test "$FAILED" = false',
    "printenv DVC_CONFIG_LOCAL > .dvc/config.local",
)
MAIN_ONLY = "${{ github.ref == 'refs/heads/main' }}"
NOT_A_FORK = "${{ !github.event.repository.fork }}"


@dataclass(frozen=True)
class Flow:
    """One rendered workflow, as text and parsed, and the source of the command `mlops`."""

    name: str
    text: str
    cli: str

    @property
    def content(self) -> dict[Any, Any]:
        return yaml.safe_load(self.text)  # type: ignore[no-any-return]

    @property
    def triggers(self) -> dict[str, Any]:
        return self.content[True]  # type: ignore[no-any-return]  # YAML 1.1 reads `on` so

    @property
    def jobs(self) -> dict[str, dict[str, Any]]:
        return self.content["jobs"]  # type: ignore[no-any-return]

    def steps(self, uses: str = "") -> Iterator[dict[str, Any]]:
        """All steps, or those of one action."""
        found = (step for job in self.jobs.values() for step in job["steps"])
        return (
            step for step in found if step.get("uses", "").startswith(f"{uses}@" if uses else "")
        )

    def commands(self) -> Iterator[str]:
        return (str(step["run"]) for step in self.steps() if "run" in step)


Rule = Callable[[Flow], Iterator[str]]
RULES: dict[str, Rule] = {}


def rule(check: Rule) -> Rule:
    """Enter a rule by its name; it yields what it finds."""
    RULES[check.__name__] = check
    return check


def breaches(flow: Flow) -> dict[str, list[str]]:
    """What each rule finds, for those that find anything."""
    return {name: found for name, check in RULES.items() if (found := list(check(flow)))}


@rule
def triggers(flow: Flow) -> Iterator[str]:
    plain = {**flow.triggers}
    if isinstance(dispatch := plain.get("workflow_dispatch"), dict):
        plain["workflow_dispatch"] = list(dispatch["inputs"])
    if "schedule" in plain:
        plain["schedule"] = len(plain["schedule"])
    if plain != TRIGGERS[flow.name]:
        yield f"{plain} instead of {TRIGGERS[flow.name]}"


@rule
def schedule(flow: Flow) -> Iterator[str]:
    for entry in flow.triggers.get("schedule", []):
        if entry["cron"].split()[0] in {"0", "15", "30", "45", "*"} or set(entry) != {"cron"}:
            yield f"loaded minute or unknown key: {entry}"
    if "workflow_dispatch" not in flow.triggers:
        yield "cannot be started by hand"


@rule
def permissions(flow: Flow) -> Iterator[str]:
    if flow.content.get("permissions") != {}:
        yield "the workflow must have none"
    for name, job in flow.jobs.items():
        given, place = job.get("permissions"), f"{flow.name}.{name}"
        if not isinstance(given, dict):
            yield f"{place} lists none"
        elif {key for key, level in given.items() if level == "write"} != WRITES.get(place, set()):
            yield f"{place} writes other than {WRITES.get(place, set())}"
        elif {key for key, level in given.items() if level != "write"} - {"contents"}:
            yield f"{place} reads more than the contents"


@rule
def concurrency(flow: Flow) -> Iterator[str]:
    group, cancel = (
        flow.content["concurrency"]["group"],
        flow.content["concurrency"]["cancel-in-progress"],
    )
    wanted = (
        ("ci-", "${{ github.event_name == 'pull_request' }}")
        if flow.name == "ci"
        else (flow.name, False)
    )
    if not group.startswith(wanted[0]) or cancel != wanted[1]:
        yield f"{group}, {cancel}"


@rule
def jobs(flow: Flow) -> Iterator[str]:
    if flow.content.get("defaults") != {"run": {"shell": "bash"}}:
        yield "without shell: bash a broken pipe goes unseen"
    for name, job in flow.jobs.items():
        if job.get("runs-on") != "ubuntu-latest" or job.get("name") != name:
            yield f"{name}: runner or name"


@rule
def timeouts(flow: Flow) -> Iterator[str]:
    yield from (
        name for name, job in flow.jobs.items() if not 0 < job.get("timeout-minutes", 0) <= 180
    )


@rule
def environments(flow: Flow) -> Iterator[str]:
    for name, job in flow.jobs.items():
        if job.get("environment") != ENVIRONMENTS.get(f"{flow.name}.{name}"):
            yield f"{name}: {job.get('environment')}"


@rule
def lanes(flow: Flow) -> Iterator[str]:
    for name, job in flow.jobs.items():
        start = NOT_A_FORK if "schedule" in flow.triggers else None
        if job.get("if") != LANES.get(f"{flow.name}.{name}", start):
            yield f"{name} runs if {job.get('if')}"
        if "pull_request" in flow.triggers and WRITES.get(f"{flow.name}.{name}"):
            yield f"{name} writes on behalf of a pull request"


@rule
def ok_needs_all(flow: Flow) -> Iterator[str]:
    if flow.name == "ci":
        ok = flow.jobs.get("ok", {"needs": [], "steps": [{}]})
        if {*ok["needs"]} != flow.jobs.keys() - {"ok"}:
            yield f"needs {ok['needs']}"
        results = [f"contains(needs.*.result, '{result}')" for result in ("failure", "cancelled")]
        if ok["steps"][0].get("env", {}).get("FAILED") != f"${{{{ {' || '.join(results)} }}}}":
            yield "does not see each failure"


@rule
def pins(flow: Flow) -> Iterator[str]:
    for line in filter(re.compile(r"^\s*(- )?uses:").match, flow.text.splitlines()):
        found = re.search(r"uses: (\S+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$", line)
        pin = PINS.get(found[1]) if found else None
        if not found or not pin or (found[2], found[3]) != (pin["sha"], pin["tag"]):
            yield line.strip()
    if len(list(flow.steps())) != len(list(flow.commands())) + len(
        re.findall(r"(?m)^\s*(?:- )?uses:", flow.text)
    ):
        yield "an action is used where no line begins"


@rule
def inputs(flow: Flow) -> Iterator[str]:
    for action, pin in PINS.items():
        for step in flow.steps(action):
            yield from (
                f"{action} has no {name}" for name in step.get("with", {}).keys() - {*pin["inputs"]}
            )


@rule
def outputs(flow: Flow) -> Iterator[str]:
    for job in flow.jobs.values():
        known = {step["id"]: _outputs(step) for step in job["steps"] if "id" in step}
        needed = [job["needs"]] if isinstance(job.get("needs"), str) else job.get("needs", [])
        for kind, place, name in re.findall(
            r"(steps|needs)\.(\w+)\.outputs\.([\w-]+)", json.dumps(job)
        ):
            others = flow.jobs[place].get("outputs", {}) if place in needed else {}
            if name not in (known.get(place, set()) if kind == "steps" else others):
                yield f"{kind}.{place}.outputs.{name}"


def _outputs(step: dict[str, Any]) -> set[str]:
    if "uses" in step:
        return {*PINS[step["uses"].partition("@")[0]]["outputs"]}
    verb = re.match(r"uv run mlops (\w+)", step["run"])
    return VERB_OUTPUTS.get(verb[1], set()) if verb else set()


@rule
def secrets_and_variables(flow: Flow) -> Iterator[str]:
    if re.search(r"\b(secrets|vars)\b(?!\.\w)", re.sub(r"#.*", "", flow.text)):
        yield "all at once"
    yield from {*re.findall(r"secrets\.(\w+)", flow.text)} - SECRETS
    yield from {*re.findall(r"vars\.(\w+)", flow.text)} - VARIABLES


@rule
def forbidden(flow: Flow) -> Iterator[str]:
    for part in [*flow.jobs.values(), *flow.steps(), flow.content["concurrency"]]:
        yield from part.keys() & {
            "continue-on-error",
            "services",
            "container",
            "queue",
            "working-directory",
            "shell",
        }
    yield from re.findall(r"case\(", flow.text)


@rule
def no_expression_in_a_command(flow: Flow) -> Iterator[str]:
    yield from (command for command in flow.commands() if "${{" in command)


@rule
def one_named_command(flow: Flow) -> Iterator[str]:
    for step in flow.steps():
        if "run" in step and (
            "name" not in step
            or "\n" in step["run"].strip()
            or re.search(r"[;|&`]|\$\(", step["run"])
        ):
            yield step["run"]


@rule
def known_command(flow: Flow) -> Iterator[str]:
    code = ast.parse(flow.cli)
    strings = {
        node.value
        for node in ast.walk(code)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    verbs = {
        node.name[1:]
        for node in code.body
        if isinstance(node, ast.FunctionDef) and node.decorator_list
    }
    for command in flow.commands():
        tool, *rest = command.removeprefix("uv run ").split()
        if not command.startswith(OTHER_COMMANDS) and (
            tool not in TOOLS or tool == command.split()[0]
        ):
            yield command
        if tool == "mlops" and rest[0] not in verbs:
            yield f"mlops has no verb {rest[0]}"
        if tool == "mlops":
            yield from (
                f"mlops has no option {word}"
                for word in rest
                if word[:2] == "--" and word not in strings
            )


@rule
def no_kept_credentials(flow: Flow) -> Iterator[str]:
    for step in flow.steps("actions/checkout"):
        if step.get("with", {}).get("persist-credentials") is not False:
            yield "checkout leaves the token on the disk"


@rule
def caches(flow: Flow) -> Iterator[str]:
    for step in flow.steps("astral-sh/setup-uv"):
        given = step.get("with", {})
        if given not in (
            [{"enable-cache": False}]
            if flow.name == "cd"
            else [{"save-cache": False}, {"save-cache": MAIN_ONLY}]
        ):
            yield str(given)


# One mutation for each rule: rule, workflow, what is replaced (the first time it occurs), by what.
CHECKOUT = f"actions/checkout@{PINS['actions/checkout']['sha']} # {PINS['actions/checkout']['tag']}"
MUTATIONS = [
    ("triggers", "ci", "  pull_request:", "  pull_request_target:"),
    ("triggers", "ct", "dvc.lock, ", ""),
    ("schedule", "cm", '- cron: "', '- cron: "0 1 * * *" #'),
    ("permissions", "cm", "issues: write", "issues: read"),
    ("permissions", "ci", "{contents: read}", "{contents: write}"),
    (
        "permissions",
        "ct",
        "{contents: write} # to push the branch",
        "{contents: write, id-token: write} #",
    ),
    ("permissions", "cd", "permissions: {}", "permissions: read-all"),
    ("concurrency", "ct", "cancel-in-progress: false", "cancel-in-progress: true"),
    ("jobs", "cd", "defaults: {run: {shell: bash}}\n", ""),
    ("timeouts", "ci", "    timeout-minutes: 10\n", ""),
    ("environments", "ct", "environment: model-production", "environment: production"),
    ("lanes", "ct", "if: contains(needs.train.outputs.waits, 'promote')", "if: always()"),
    ("lanes", "cm", f"    if: {NOT_A_FORK}\n", ""),
    ("ok_needs_all", "ci", "[lint, test, pipeline]", "[lint, test]"),
    ("ok_needs_all", "ci", " || contains(needs.*.result, 'cancelled')", ""),
    ("pins", "ci", CHECKOUT, CHECKOUT.replace("v7.0.1", "v7.0.0")),
    ("pins", "ci", CHECKOUT, "actions/checkout@v7"),
    ("pins", "cd", CHECKOUT, CHECKOUT.replace("actions/checkout", "actions/cache")),
    ("inputs", "cm", "if-no-files-found: ignore", "if-no-file-found: ignore"),
    ("outputs", "cm", "steps.monitor.outputs.verdict", "steps.monitor.outputs.verdicts"),
    ("outputs", "ct", "    needs: train\n", ""),
    ("secrets_and_variables", "ct", "secrets.DVC_CONFIG_LOCAL", "secrets.DVC_CONFIG"),
    ("secrets_and_variables", "ct", "vars.MLFLOW_TRACKING_URI", "toJSON(secrets)"),
    (
        "forbidden",
        "ci",
        "    timeout-minutes: 20",
        "    continue-on-error: true\n    timeout-minutes: 20",
    ),
    ("no_expression_in_a_command", "ct", '"ct/$PERIOD"', '"ct/${{ steps.before.outputs.period }}"'),
    ("one_named_command", "ci", "run: uv run pytest", "run: uv run pytest || true"),
    ("one_named_command", "cd", "{name: Test, run", "{run"),
    ("known_command", "cm", "uv run mlops alarm", "uv run mlops alert"),
    ("known_command", "ci", "prove --fast", "prove --faster"),
    ("known_command", "cd", "uv run bentoml", "uvx bentoml"),
    ("no_kept_credentials", "ci", "persist-credentials: false", "fetch-tags: true"),
    ("caches", "cd", "enable-cache: false", "save-cache: true"),
]


@pytest.fixture(scope="module")
def generated(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the default answers, to look at only."""
    return copy(template, tmp_path_factory.mktemp("generated") / "late-flights")


def flow_of(generated: Path, name: str) -> Flow:
    text = (generated / f".github/workflows/{name}.yml").read_text("utf-8")
    return Flow(name, text, (LIBRARY / "src/mlgates/cli.py").read_text("utf-8"))


def changed(flow: Flow, old: str, new: str) -> Flow:
    assert old in flow.text
    return Flow(flow.name, flow.text.replace(old, new, 1), flow.cli)


Tool = tuple[str, ...]
SCHEMA: Tool = ("check-jsonschema", "--builtin-schema", "vendor.github-workflows")
AUDIT: Tool = (
    "zizmor",
    "--offline",
    "--strict-collection",
    "--persona",
    "pedantic",
    "--no-progress",
)


def ask(tool: Tool, programs: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a tool of the generated project's environment on all workflows of a folder."""
    words = [
        str(programs / tool[0]),
        *tool[1:],
        *map(str, sorted((folder / ".github/workflows").glob("*.yml"))),
    ]
    return subprocess.run(words, capture_output=True, text=True)


def test_the_workflows_are_these(generated: Path) -> None:
    assert {path.name for path in (generated / ".github/workflows").iterdir()} == {
        f"{name}.yml" for name in NAMES
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_workflow_keeps_the_policy(generated: Path, name: str) -> None:
    assert breaches(flow_of(generated, name)) == {}


@pytest.mark.parametrize(("name", "flow", "old", "new"), MUTATIONS)
def test_a_rule_reports_what_breaks_it(
    generated: Path, name: str, flow: str, old: str, new: str
) -> None:
    whole = flow_of(generated, flow)
    before, after = set(RULES[name](whole)), set(RULES[name](changed(whole, old, new)))
    assert after - before


def test_every_rule_is_proven() -> None:
    assert {name for name, *_ in MUTATIONS} == RULES.keys()


@pytest.mark.parametrize("tool", [SCHEMA, AUDIT])
def test_a_tool_finds_nothing(generated: Path, programs: Path, tool: Tool) -> None:
    done = ask(tool, programs, generated)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("tool", "new", "told"),
    [
        (SCHEMA, "run: null", "run"),
        (AUDIT, 'run: "echo ${{ github.head_ref }}"', "template-injection"),
        (AUDIT, "run: [", "ci.yml"),  # among good files one that cannot be read
    ],
)
def test_a_tool_finds_a_fault(
    generated: Path, programs: Path, tmp_path: Path, tool: Tool, new: str, told: str
) -> None:
    shutil.copytree(generated / ".github", tmp_path / ".github")
    faulty = changed(flow_of(generated, "ci"), "run: uv run mypy src", new)
    (tmp_path / ".github/workflows/ci.yml").write_text(faulty.text, "utf-8")
    done = ask(tool, programs, tmp_path)
    assert done.returncode and told in done.stdout + done.stderr


def test_minutes_are_spread_and_never_the_loaded_ones() -> None:
    for name in ("cm", "ct", "mutation"):
        source = jinja2.Template(
            (ROOT / f"template/.github/workflows/{name}.yml.jinja").read_text("utf-8")
        )
        texts = [source.render(project=f"model-{number}") for number in range(100)]
        minutes = {int(found[1]) for text in texts if (found := re.search(r'cron: "(\d+) ', text))}
        assert len(minutes) > 10 and not minutes & {0, 15, 30, 45}


def test_the_credentials_that_a_workflow_writes_cannot_be_committed(generated: Path) -> None:
    assert git(generated, "check-ignore", ".dvc/config.local")
