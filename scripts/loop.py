"""Draw docs/loop.svg from a generated project.

It shows the project's stages (dvc.yaml) and the faults that `mlops prove` catches in each.

Run in a generated project, with its environment: python SCRIPT OUTPUT.
"""

import json
import sys
from collections import Counter
from html import escape
from pathlib import Path

import yaml

GOLDENS = Path(__file__).parents[1] / "tests" / "goldens"
TOOLS = {
    "close": "a period ends",
    "ingest": "DVC",
    "validate": "Great Expectations",
    "train": "scikit-learn",
    "studies": "tuning, ablation, age",
    "evaluate": "paired intervals",
    "gate": "pure function",
    "promote": "git tags, MLflow",
    "serve": "BentoML",
    "monitor": "Evidently",
}
# by the first part of the check's name; the rest is the monitor's
CAUGHT_IN = {
    "data": "validate",
    "drift": "validate",
    "poison": "validate",
    "features": "train",
    "train": "train",
    "gate": "gate",
    "serving": "serve",
    "drill": "serve",
    "record": "promote",
    "reproduce": "promote",
    "Not committed": "promote",
}
WIDTH, HEIGHT, BOX, TALL = 960, 300, 130, 74


def faults() -> Counter[str]:
    """How many faults each step of the loop catches in the sample project.

    `mlops prove` planted them; the golden file keeps its table.
    """
    table = json.loads((GOLDENS / "binary-flights-github.json").read_text())["faults"]
    counts: Counter[str] = Counter()
    for result, check in table.values():
        if result == "caught":
            area = check.partition(".")[0]
            counts[CAUGHT_IN.get(area, "monitor")] += 1
    return counts


def steps() -> list[str]:
    """The loop, in order.

    The stages of dvc.yaml stand between the close of a period and the watch over what is served.
    """
    stages = list(yaml.safe_load(Path("dvc.yaml").read_text())["stages"])
    stages.remove("track")
    return ["close", *stages, "promote", "serve", "monitor"]


def draw(names: list[str], caught: Counter[str]) -> str:
    """The picture: one row there, one row back."""
    half = (len(names) + 1) // 2
    upper, lower = names[:half], names[half:]
    left = 20
    right = WIDTH - 20 - BOX
    spots: dict[str, tuple[float, float]] = {}  # the upper left corner of each box
    for i, name in enumerate(upper):
        spots[name] = (left + i * (WIDTH - 40 - BOX) / (half - 1), 30)
    for i, name in enumerate(lower):
        spots[name] = (right - i * (WIDTH - 40 - BOX) / (len(lower) - 1), 190)

    following = [*names[1:], names[0]]
    shapes = []
    for name, next_name in zip(names, following, strict=True):
        shapes.append(_arrow(spots[name], spots[next_name]))
    shapes += [_box(name, *spots[name], caught[name]) for name in names]
    style = (
        "text{font-family:system-ui,sans-serif;fill:#1c2733}.t,.f{font-size:12px}"
        ".t{fill:#52606d}.f{fill:#b3261e}"
    )
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        'role="img" aria-label="The loop">'
    )
    marker = (
        '<marker id="a" viewBox="0 0 8 8" refX="7" refY="4" '
        'markerWidth="8" markerHeight="8" orient="auto">'
    )
    tip = f'<defs>{marker}<path d="M0 0 8 4 0 8z" fill="#52606d"/></marker></defs>'
    back = f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    return f"{head}<style>{style}</style>{tip}{back}{''.join(shapes)}</svg>\n"


def _box(name: str, x: float, y: float, caught: int) -> str:
    middle = x + BOX / 2
    place = f'x="{middle}" text-anchor="middle"'
    stops = f'<text class="f" {place} y="{y + 64}">catches {caught} faults</text>' if caught else ""
    colour = "#b3261e" if caught else "#c5ced8"
    return (
        f'<rect x="{x}" y="{y}" width="{BOX}" height="{TALL}" rx="8" '
        f'fill="#f6f8fa" stroke="{colour}"/>'
        f'<text {place} y="{y + 26}" font-size="17" font-weight="600">{escape(name)}</text>'
        f'<text class="t" {place} y="{y + 45}">{escape(TOOLS[name])}</text>{stops}'
    )


def _arrow(start: tuple[float, float], end: tuple[float, float]) -> str:
    (x1, y1), (x2, y2) = start, end
    # The tip ends 3 pixels before the box that it points at.
    if y1 == y2 and x2 > x1:  # to the right
        line = (x1 + BOX, y1 + TALL / 2, x2 - 3, y2 + TALL / 2)
    elif y1 == y2:  # to the left
        line = (x1, y1 + TALL / 2, x2 + BOX + 3, y2 + TALL / 2)
    elif y2 > y1:  # down
        line = (x1 + BOX / 2, y1 + TALL, x2 + BOX / 2, y2 - 3)
    else:  # up
        line = (x1 + BOX / 2, y1, x2 + BOX / 2, y2 + TALL + 3)
    template = (
        '<line x1="{}" y1="{}" x2="{}" y2="{}" '
        'stroke="#52606d" stroke-width="1.5" marker-end="url(#a)"/>'
    )
    return template.format(*line)


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(steps(), faults()))
