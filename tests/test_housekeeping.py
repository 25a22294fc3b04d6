"""What the repository promises about itself."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

import rain

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXTS = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "recipes/README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
]
FILE_LIMIT = 400
"""Lines: a file fits in the head."""
ALGORITHM_LIMIT = 600
"""Lines of the tree and the loop together."""


def test_the_version_is_the_same_everywhere() -> None:
    version = PYPROJECT["project"]["version"]
    assert rain.__version__ == version
    assert f"## {version}" in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", sorted((ROOT / "src").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_fits_in_the_head(path: Path) -> None:
    assert lines(path) <= FILE_LIMIT


def test_tree_and_loop_are_short() -> None:
    assert sum(lines(ROOT / "src/rain/search" / name) for name in ("tree.py", "loop.py")) < ALGORITHM_LIMIT


def test_importing_rain_loads_nothing_heavy() -> None:
    heavy = {"numpy", "pydantic", "rich", "typer", "wordllama", "llama_cpp"}
    code = f"import sys, rain; print(*sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_the_openings_of_the_proof_are_thirty_and_different() -> None:
    openings = (ROOT / "benchmarks/openings.txt").read_text(encoding="utf-8").splitlines()
    assert len(openings) == len(set(openings)) == 30
    assert all(opening.strip() == opening and opening for opening in openings)


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_in_the_documentation_resolve(path: Path) -> None:
    links = re.findall(r"\]\(([^)\s]+)\)", path.read_text(encoding="utf-8"))
    missing = [
        link
        for link in links
        if not link.startswith(("http:", "https:", "#")) and not (path.parent / link.split("#")[0]).exists()
    ]
    assert not missing


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_named_in_the_documentation_exist(path: Path) -> None:
    named = re.findall(
        r"`((?:src|tests|docs|tools|benchmarks|examples)/[\w./-]+)(?:::\w+)?`", path.read_text(encoding="utf-8")
    )
    assert not [name for name in named if not (ROOT / name).exists()]


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_named_in_the_documentation_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    commands = [line for block in re.findall(r"```console\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
    code = commands + re.findall(r"`([^`\n]+)`", text)
    for line in code:
        command = line.strip().removeprefix("$ ").removeprefix(".venv/bin/").split("  #")[0]
        for made in re.findall(r"(?:^|&& |=\S+ )make ([a-z-]+)", command):
            assert made in targets, f"make {made}"
        found = re.match(r"rain ([a-z]+)(.*)", command)
        if found:
            assert found[1] in commands_of_rain(), f"rain {found[1]}"
            unknown = set(re.findall(r"(--[a-z-]+)", found[2])) - options_of(found[1])
            assert not unknown, command


@pytest.mark.parametrize("path", sorted((ROOT / "recipes").glob("*.sh")), ids=lambda path: path.name)
def test_a_recipe_is_a_command_that_exists(path: Path) -> None:
    subprocess.run(["sh", "-n", path], check=True)
    assert f"({path.name})" in (path.parent / "README.md").read_text(encoding="utf-8")
    command = path.read_text(encoding="utf-8").replace("\\\n", " ").split("exec rain ")[1]
    name, *words = command.split()
    assert {word for word in words if re.fullmatch(r"--[a-z-]+", word)} <= options_of(name)
    if name == "eval":
        from rain.evaluation.suites import SUITES

        assert words[0] in SUITES


def test_options_in_the_table_exist() -> None:
    text = (ROOT / "docs/command-line.md").read_text(encoding="utf-8").split("## Options")[1]
    named = {name for row in text.splitlines() if row.startswith("| `--") for name in re.findall(r"(--[a-z-]+)", row)}
    assert named - options_of("generate") == set()


@cache
def commands_of_rain() -> frozenset[str]:
    import typer

    from rain.cli.app import app

    return frozenset(typer.main.get_command(app).commands)


@cache
def options_of(command: str) -> frozenset[str]:
    import typer

    from rain.cli.app import app

    found = typer.main.get_command(app).commands[command]
    # A group's sub-commands have options, too.
    commands = [found, *getattr(found, "commands", {}).values()]
    names = {name for one in commands for parameter in one.params for name in parameter.opts}
    return frozenset(names | {"--help", "--version"})


def lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())
