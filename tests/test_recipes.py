"""Recipes: what each hands to ``rain``, which is not run here."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

RECIPES = Path(__file__).resolve().parent.parent / "recipes"


def words(tmp_path: Path, recipe: str, *more: str, **given: str) -> list[str]:
    """What the recipe would call ``rain`` with."""
    stub = tmp_path / "bin" / "rain"
    stub.parent.mkdir(exist_ok=True)
    stub.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    stub.chmod(stub.stat().st_mode | stat.S_IXUSR)
    env = {"PATH": f"{stub.parent}:{os.environ['PATH']}", "MODEL": "smollm2", **given}
    done = subprocess.run([RECIPES / recipe, *more], env=env, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def after(option: str, given: list[str]) -> str:
    return given[given.index(option) + 1]


@pytest.mark.parametrize("recipe", ["hh.sh", "gcg.sh", "best-of-500.sh", "ablation.sh"])
def test_whether_replies_are_harmless_is_judged_unless_another_judge_is_named(recipe: str, tmp_path: Path) -> None:
    usual = words(tmp_path, recipe, DATA="a folder")
    assert after("--judge", usual) == "harm-classifier,refusal"
    assert after("--data", usual) == "a folder"
    assert after("--judge", words(tmp_path, recipe, DATA="d", JUDGE="ai:m")) == "ai:m"


def test_imdb_is_taken_from_the_hub_where_no_data_is_named(tmp_path: Path) -> None:
    assert "--data" not in words(tmp_path, "imdb.sh", "--limit", "3")
    assert after("--data", words(tmp_path, "imdb.sh", DATA="a folder")) == "a folder"


@pytest.mark.parametrize("recipe", ["hh.sh", "imdb.sh"])
def test_further_options_come_last_so_that_they_count(recipe: str, tmp_path: Path) -> None:
    assert words(tmp_path, recipe, "--limit", "3", DATA="d")[-2:] == ["--limit", "3"]
