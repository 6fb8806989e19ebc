"""Where a project takes mlgates from.

For each way to name the template: a pin that uv takes, or a word at the copy.
"""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest

from .projects import NOW, ROOT, UV, clean, commit, copy, git, update

COPIER = Path(sys.executable).with_name("copier")
REV = "0123456789abcdef0123456789abcdef01234567"
HOSTED = {
    "gh:org/copier-mlops": "https://github.com/org/copier-mlops",
    "gh:/org/copier-mlops.git": "https://github.com/org/copier-mlops.git",
    "gl:org/copier-mlops": "https://gitlab.com/org/copier-mlops",
    "https://git.example.org/org/copier-mlops.git": "https://git.example.org/org/copier-mlops.git",
    "git+https://git.example.org/org/copier-mlops": "https://git.example.org/org/copier-mlops",
    "ssh://git@git.example.org:2222/org/copier-mlops": (
        "ssh://git@git.example.org:2222/org/copier-mlops"
    ),
    "git+ssh://git@git.example.org/org/copier-mlops": "ssh://git@git.example.org/org/copier-mlops",
    "git@git.example.org:org/copier-mlops.git": "ssh://git@git.example.org/org/copier-mlops.git",
    "git.example.org:/srv/copier-mlops.git": "ssh://git.example.org/srv/copier-mlops.git",
}
ALONE = """
[project]
name = "late-flights"
version = "0"
requires-python = ">=3.11"
dependencies = ["mlgates"]
[tool.uv.sources]
mlgates = {source}
"""  # a project that has nothing but the library


def rendered(address: str, rev: str | None = REV) -> str:
    """The pin that hooks/source.jinja gives for a template's address."""
    extensions = ["jinja2_ansible_filters.AnsibleCoreFiltersExtension"]
    loader = jinja2.FileSystemLoader(ROOT)
    hooks = jinja2.Environment(
        loader=loader,
        extensions=extensions,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    conf = SimpleNamespace(vcs_ref_hash=rev)
    return hooks.get_template("hooks/source.jinja").render(
        _copier_conf=conf, _copier_answers={"_src_path": address}
    )


def pin(project: Path) -> dict[str, Any]:
    """What a project's pyproject.toml says of mlgates."""
    found = tomllib.loads((project / "pyproject.toml").read_text())
    return dict(found["tool"]["uv"]["sources"]["mlgates"])


def lock(source: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`uv lock` of a project that has nothing but the library."""
    folder.mkdir()
    (folder / "pyproject.toml").write_text(ALONE.format(source=source))
    return subprocess.run(
        [UV, "lock", *words], cwd=folder, env=clean(), capture_output=True, text=True
    )


def copied(folder: Path, address: str, *words: str, ref: str = NOW) -> tuple[Path, str]:
    """A copy by the command, from the folder above; returns it and what was printed."""
    command = [str(COPIER), "copy", "--defaults", "--vcs-ref", ref]
    command += ["--data", "project=late-flights", *words]
    done = subprocess.run(
        [*command, address, "late-flights"],
        cwd=folder,
        env=clean(),
        capture_output=True,
        text=True,
        check=True,
    )
    return folder / "late-flights", done.stderr


@pytest.mark.parametrize("address", HOSTED)
def test_a_hosted_address_is_one_that_uv_reads(address: str, tmp_path: Path) -> None:
    """Without a network uv gets as far as to ask for it: it has understood the pin."""
    source = rendered(address)
    assert tomllib.loads(f"source = {source}")["source"] == {
        "git": HOSTED[address],
        "rev": REV,
        "subdirectory": "library",
    }
    done = lock(source, tmp_path / "alone", "--offline")
    assert done.returncode == 1 and "Git operation failed" in done.stderr
    assert HOSTED[address] in done.stderr and "not allowed" in done.stderr


@pytest.mark.parametrize(
    "kind", ["a folder", "a bare clone", "a bare clone as file", "a folder with a space"]
)
def test_a_local_address_gives_a_pin_that_installs(
    kind: str, template: Path, tmp_path: Path
) -> None:
    place = tmp_path / kind / "copier-mlops.git"
    bare = ["--bare"] if "bare" in kind else []
    git(template, "clone", "--quiet", *bare, str(template), str(place))
    address = f"file://{place}".replace(" ", "%20") if "file" in kind else str(place)
    project, printed_errors = copied(tmp_path, address)
    assert "comes from a folder of this machine" in printed_errors
    found = pin(project)
    assert found["rev"] == git(template, "rev-parse", NOW).strip()

    source = re.search(r"^mlgates = (.+)$", (project / "pyproject.toml").read_text(), re.MULTILINE)
    assert source
    done = lock(source[1], tmp_path / "alone")
    assert done.returncode == 0, done.stderr
    subprocess.run(
        [UV, "sync", "--quiet", "--frozen"], cwd=tmp_path / "alone", env=clean(), check=True
    )
    words = [UV, "run", "--no-sync", "python", "-c", "import mlgates; print(mlgates.__file__)"]
    printed = subprocess.run(
        words, cwd=tmp_path / "alone", env=clean(), check=True, capture_output=True, text=True
    )
    assert "site-packages" in printed.stdout


def test_a_relative_address_is_made_absolute_and_the_copy_says_that_updates_will_not_find_it(
    template: Path, tmp_path: Path
) -> None:
    git(template, "clone", "--quiet", str(template), str(tmp_path / "copier-mlops"))
    project, printed_errors = copied(tmp_path, "./copier-mlops")
    assert "relative path ./copier-mlops" in printed_errors and "gh:" in printed_errors
    assert pin(project)["git"] == f"file://{tmp_path.resolve()}/copier-mlops"


def test_a_dirty_template_is_named_with_the_way_out(template: Path, tmp_path: Path) -> None:
    """Copier renders a commit of its own then, which nobody else can fetch."""
    place = tmp_path / "copier-mlops"
    git(template, "clone", "--quiet", str(template), str(place))
    (place / "README.md").write_text("being worked on")
    _, printed_errors = copied(tmp_path, str(place), ref="HEAD")
    assert "not committed" in printed_errors and "--data library=PATH/library" in printed_errors
    shutil.rmtree(tmp_path / "late-flights")
    project, printed_errors = copied(
        tmp_path, str(place), "--data", f"library={place}/library", ref="HEAD"
    )
    assert "WARNING" not in printed_errors
    assert pin(project) == {"path": f"{place}/library", "editable": True}


def test_a_folder_without_git_is_taken_as_it_is(tmp_path: Path) -> None:
    source = tomllib.loads(f"source = {rendered(str(tmp_path), rev=None)}")["source"]
    assert source == {"path": f"{tmp_path.resolve()}/library", "editable": True}


def test_an_update_moves_the_pin(template: Path, tmp_path: Path) -> None:
    place = tmp_path / "copier-mlops"
    git(template, "clone", "--quiet", str(template), str(place))
    git(place, "tag", "v998.0.0")
    project = copy(place, tmp_path / "late-flights", tag="v998.0.0")
    before = pin(project)["rev"]
    git(place, "tag", "--delete", NOW)
    commit(place, "Newer")
    git(place, "tag", NOW)
    update(project)
    assert pin(project)["rev"] == git(place, "rev-parse", "HEAD").strip() != before
