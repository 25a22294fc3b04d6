"""One family of errors. A message names the thing, what was found, what was expected, and what to do."""

from __future__ import annotations


class RainError(Exception):
    """Something a person can mend; its message is for people. The command line ends with :attr:`exit_code`."""

    exit_code = 1


class UsageError(RainError):
    """Something was asked for wrongly: an option, a setting, a file or a name that is not what it should be."""

    exit_code = 2


class MissingExtra(UsageError):
    """An optional part is needed and not installed."""


class EngineError(RainError):
    """A model could not be loaded or failed while it worked."""
