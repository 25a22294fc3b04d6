"""Addresses as they may be shown: on a terminal, in a run's files, in a report."""

from __future__ import annotations

import re

_ADDRESS = re.compile(r"(?<=://)(?:[^\s#]*@)?([^\s?#]*)(?:\?[^\s#]*)?")


def without_secrets(text: str) -> str:
    """``text`` whose addresses have no query and nothing before their host: a name, a password.

    A password may hold ``/``, ``?`` or ``@``, so all up to the last @ goes; what follows a # stays, as a model's name.
    """
    return _ADDRESS.sub(r"\1", text)
