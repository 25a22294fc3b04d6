"""What may be shown of an address: no name, no password, no key."""

from __future__ import annotations

import sys

import pytest

from rain.addresses import without_secrets
from rain.cli.options import command_line


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("https://host/v1?api_key=SECRET", "https://host/v1"),
        ("https://host/v1?key=SECRET#gpt", "https://host/v1#gpt"),
        ("https://host?key=SECRET", "https://host"),
        ("https://me:SECRET@host:8000/v1#m", "https://host:8000/v1#m"),
        ("https://me:SE/CRET@host/v1", "https://host/v1"),
        ("https://me:SE?CRET@host/v1?key=SECRET#m", "https://host/v1#m"),
        ("https://me:SE@CRET@host/v1", "https://host/v1"),
        ("--judge-url=https://me:SE/CRET@host/v1?key=SECRET", "--judge-url=https://host/v1"),
        ("vader,http://a/v1?key=SECRET#m@2,http://me:SECRET@b/v1?k=SECRET#n", "vader,http://a/v1#m@2,http://b/v1#n"),
        ("http://127.0.0.1:8000/v1#@cf/meta/llama@3", "http://127.0.0.1:8000/v1#@cf/meta/llama@3"),
        ("hf:owner/repo/file.gguf@main", "hf:owner/repo/file.gguf@main"),
        ("See http://host/a, and ask me@host?", "See http://host/a, and ask me@host?"),
    ],
)
def test_names_passwords_and_queries_are_left_out(given: str, shown: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert without_secrets(given) == shown
    monkeypatch.setattr(sys, "argv", ["rain", "eval", "hh", "--judge", given, "--out", "a folder"])
    told = command_line()
    assert "SECRET" not in told
    assert "CRET" not in told
    assert shown in told
    assert told.startswith("rain eval hh --judge ")
    assert told.endswith(" --out 'a folder'")
