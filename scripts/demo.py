"""`make demo`: the sample project in demo/, from the copy to simulated months; started again, it does what is left."""

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
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
WIDTH = 160
PAGES = ["reports/gate.html", "var/simulate/gate.html", "var/simulate/monitor.html", "README.md"]


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
        done = logs / f"{number}-{words[1]}.txt"
        if not done.exists():
            run(why, UV, "run", "--quiet", *words, log=done)
    print(summary(logs))
    print("\nOpen:", *(f"  demo/{page}" for page in PAGES if (DEMO / page).exists()), sep="\n")
    uv = "uv" if shutil.which("uv") else os.path.relpath(UV, DEMO)
    print(
        f"Go on: cd demo && {uv} run mlops up        Again from nothing: rm -r demo, then make demo"
    )
    return 0


def summary(logs: Path) -> str:
    """What happened: a bad candidate refused, a bad deployment halted, the months played, the champion."""
    names = ("2-prove.txt", "3-simulate.txt", "4-status.txt")
    proofs, months, status = ((logs / name).read_text().splitlines() for name in names)
    played = months[next(n for n, line in enumerate(months) if line.startswith("period")) :]
    shown = proven(proofs) | {"The months": played, "Now": status}
    blocks = (
        f"\n{title}\n" + "\n".join(f"  {line}" for line in lines).rstrip()
        for title, lines in shown.items()
    )
    return "\n" + "=" * 72 + "".join(blocks)


def proven(lines: Sequence[str]) -> dict[str, list[str]]:
    """What `mlops prove` printed of a bad candidate, of a bad deployment and of all faults."""
    wanted = {
        "A bad candidate was refused": r"caught +candidate .* gate\.",
        "A bad deployment was halted": r"caught +(one byte|a changed model|a model|a forged verdict) .* serving\.",
        "All planted faults": r"\d+ caught, \d+ escaped",
    }
    return {
        title: [line[:WIDTH] for line in lines if re.match(found, line)]
        for title, found in wanted.items()
    }


def run(why: str, *words: str, log: Path | None = None) -> None:
    """Show a command and its output; keep the output once it ended well."""
    shown = (
        " ".join(words[2:]).replace("--quiet mlops", "uv run mlops").replace(f"{ROOT}{os.sep}", "")
    )
    print(f"\n# {why}\n$ {shown}", flush=True)
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
            f"\nerror: that ended with exit code {process.returncode}; fix it and run `make demo` again."
        )
    if log:
        log.write_text("".join(lines))


def environment() -> dict[str, str]:
    """Ours without the template's own environment; with a name for git where it has none."""
    unwanted = ("VIRTUAL_ENV", "PYTHONDONTWRITEBYTECODE", "PYTHONPATH")
    kept = {name: value for name, value in os.environ.items() if name not in unwanted}
    known = subprocess.run(
        ["git", "config", "user.email"], cwd=ROOT, capture_output=True, text=True
    ).stdout
    roles = (
        []
        if known
        else [f"GIT_{role}_{key}" for role in ("AUTHOR", "COMMITTER") for key in ("NAME", "EMAIL")]
    )
    return dict.fromkeys(roles, "demo@example.org") | kept


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit("\nInterrupted; `make demo` goes on from here.")
