"""The command line: one file a command, thin: parse, call the API, show."""

from rain.cli.app import main

__all__ = ["main"]
