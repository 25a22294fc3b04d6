"""Tests in environments of their own: ``nox -l`` lists them. ``make test`` is what every change must pass."""

from __future__ import annotations

import importlib.util
import os

import nox

nox.options.sessions = ["tests"]
nox.options.reuse_existing_virtualenvs = True


@nox.session(python=["3.11", "3.12", "3.13"])
def tests(session: nox.Session) -> None:
    """The fast tests, without a real model."""
    session.install("-e", ".[bench]", *nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "dev"))
    session.run("pytest", "-m", "not real", *session.posargs)


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel in an empty environment."""
    session.run("tools/smoke_wheel.sh", external=True, env={"SMOKE_PYTHON": f"{session.bin}/python"})


@nox.session(venv_backend="none")
def real(session: nox.Session) -> None:
    """Tests with the embedded model, in the .venv that ``make setup`` made."""
    session.run(".venv/bin/python", "-m", "pytest", "-m", "real", *session.posargs, external=True)


@nox.session(venv_backend="none")
def transformers(session: nox.Session) -> None:
    """The Transformers engine (comes with a later version)."""
    skip_without(session, "src/rain/engines/transformers.py", "torch")


@nox.session(venv_backend="none")
def vllm(session: nox.Session) -> None:
    """The vLLM engine (comes with a later version)."""
    skip_without(session, "src/rain/engines/vllm.py", "vllm")


def skip_without(session: nox.Session, file: str, module: str) -> None:
    if not os.path.exists(file):
        session.skip(f"{file} is not there yet")
    if importlib.util.find_spec(module) is None:
        session.skip(f"{module} is not installed here")
    session.run("python", "-m", "pytest", f"tests/real/test_{module}.py", *session.posargs, external=True)
