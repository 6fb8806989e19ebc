"""`make demo`: the sample project in demo/, from the copy to simulated months.

Started again, it does what is left.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DEMO = ROOT / "demo"
UV = os.environ.get("UV") or shutil.which("uv") or "uv"
STEPS = {  # what is shown, and the command; its output stays in demo/var/demo/
    "train, gate and release a first model": ["mlops", "up", "--no-serve"],
    "plant faults: a gate that was never seen to stop one does not count": ["mlops", "prove"],
    "play three months: serve, watch, retrain, gate, follow": [
        "mlops",
        "simulate",
        "--periods",
        "3",
    ],
    "who is champion, and why": ["mlops", "status"],
}
EXAMPLES = 3  # of each kind of planted fault, in the summary
PAGES = [
    "reports/gate.html",
    "var/prove/latest.html",
    "var/simulate/gate.html",
    "var/simulate/monitor.html",
    "README.md",
]


def main() -> int:
    """Run the steps that are left, then say what to open."""
    if not (DEMO / ".copier-answers.yml").exists():
        shutil.rmtree(DEMO, ignore_errors=True)  # of an interrupted copy
        words = [
            "-m",
            "copier",
            "copy",
            "--quiet",
            "--defaults",
            "--vcs-ref=HEAD",
            "--data=project=late-flights",
        ]
        run("generate the sample project", sys.executable, *words, str(ROOT), str(DEMO))
    logs = DEMO / "var" / "demo"
    logs.mkdir(parents=True, exist_ok=True)
    for number, (why, words) in enumerate(STEPS.items(), 1):
        log = logs / f"{number}-{words[1]}.txt"
        if not log.exists():
            run(why, UV, "run", "--quiet", *words, log=log)
    print(summary(logs))
    print("\nOpen:")
    for page in PAGES:
        if (DEMO / page).exists():
            print(f"  demo/{page}")
    uv = "uv" if shutil.which("uv") else os.path.relpath(UV, DEMO)
    print(
        f"Go on: cd demo && {uv} run mlops up        Again from nothing: rm -r demo, then make demo"
    )
    return 0


def summary(logs: Path) -> str:
    """What happened, on one screen: the model, the faults, the months, and who is champion now."""
    champion = json.loads((DEMO / "var/champion.json").read_text())
    proof = json.loads((DEMO / "var/prove/latest.json").read_text())
    months = (logs / "3-simulate.txt").read_text().splitlines()
    status = (logs / "4-status.txt").read_text().splitlines()

    heading = next(place for place, line in enumerate(months) if line.startswith("period"))
    sections = {
        "Built": [f"{n_files()} files, a trained model, and its release {champion['release']}"],
        **proven(proof["lines"]),
        "All planted faults": [f"{proof['totals']}, {proof['seconds']:.0f} s"],
        "The months": [line for line in months[heading:] if line],
        "Now": [line for line in status if line],
    }
    text = "\n" + "=" * 72
    for title, lines in sections.items():
        indented = "\n".join(f"  {line}" for line in lines)
        text += f"\n{title}\n" + indented.rstrip()
    return text


def n_files() -> int:
    """How many files git keeps of the project."""
    words = ["git", "ls-files"]
    listed = subprocess.run(words, cwd=DEMO, capture_output=True, text=True, check=True).stdout
    return len(listed.splitlines())


def proven(lines: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Of what `mlops prove` planted: a few bad candidates, and a few bad deployments."""
    patterns = {  # of the fault, and of the check that caught it
        "A bad candidate was refused": r"(candidate|one slice) .*: gate\.",
        "A bad deployment was halted": r"(one byte|a changed model|a forged verdict) .*: serving\.",
    }
    sections = {}
    for title, pattern in patterns.items():
        examples = []
        for line in lines:
            is_example = re.match(pattern, f"{line['subject']} : {line['expectation']}")
            if line["result"] == "caught" and is_example:
                examples.append(f"{line['subject']}: caught by {line['expectation']}")
        sections[title] = examples[:EXAMPLES]
    return sections


def run(why: str, *words: str, log: Path | None = None) -> None:
    """Show a command and its output; keep the output once it ended well."""
    command = " ".join(words[2:])
    command = command.replace("--quiet mlops", "uv run mlops").replace(f"{ROOT}{os.sep}", "")
    print(f"\n# {why}\n$ {command}", flush=True)
    process = subprocess.Popen(
        words,
        cwd=DEMO if log else ROOT,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        print(line, end="", flush=True)
        lines.append(line)
    if process.wait():
        sys.exit(
            f"\nerror: that ended with exit code {process.returncode}; "
            "fix it and run `make demo` again."
        )
    if log:
        log.write_text("".join(lines))


def environment() -> dict[str, str]:
    """The variables of this process without those of the template's own environment.

    If git knows no user, a name for its commits is added.
    """
    unwanted = ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    variables = {name: value for name, value in os.environ.items() if name not in unwanted}
    words = ["git", "config", "user.email"]
    email = subprocess.run(words, cwd=ROOT, capture_output=True, text=True).stdout
    if not email:
        for role in ("AUTHOR", "COMMITTER"):
            variables.setdefault(f"GIT_{role}_NAME", "demo@example.org")
            variables.setdefault(f"GIT_{role}_EMAIL", "demo@example.org")
    return variables


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; `make demo` goes on from here.")
