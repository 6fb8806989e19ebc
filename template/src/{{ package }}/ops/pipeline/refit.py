"""refit: fit again, with other settings (tune), without each feature (ablate), on one older period at a time (age)."""

from ..project import command_line, cycle, find_root, params, yours
from . import ablate, age, tune
from . import periods as on_disk
from .train import measurable, reference, split


def main() -> int:
    """Run the stage: three studies of the same rows, read and joined once."""
    root, team = find_root(), yours()
    settings, known = params(root), on_disk.closed(team.data, cycle(root)["until"])
    parts = split(root, team.contract, known, settings["train"])
    studied = reference(parts["train"], settings["train"]), measurable(parts["evaluation"])
    print(tune.write(root, team, parts["train"], settings))
    print(ablate.write(root, team, studied, settings, known))
    print(age.write(root, team, studied, settings, known))
    return 0


if __name__ == "__main__":
    raise SystemExit(command_line(main))
