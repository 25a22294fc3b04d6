"""The command ``rain``: its commands, and how errors are told."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import rain
from rain.cli import bench, chat, check, eval, generate, human, preferences, replay, report
from rain.errors import RainError
from rain.search.settings import SettingsError

app = typer.Typer(
    name="rain",
    help="A frozen language model that judges its own text, rewinds and commits something better.",
    epilog='Start with: rain generate "My neighbour plays loud music at night." --preference helpful',
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
    # An option that names no variable of its own has RAIN_, its command and its name: RAIN_CHECK_EVALUATORS.
    context_settings={"help_option_names": ["-h", "--help"], "auto_envvar_prefix": "RAIN"},
)
app.command("generate")(generate.generate)
app.command("chat")(chat.chat)
app.command("replay")(replay.replay)
app.command("check")(check.check)
app.command("bench")(bench.bench)
app.command("preferences")(preferences.preferences)
app.add_typer(eval.app, name="eval")
app.command("report")(report.report)
app.add_typer(human.group, name="human")


@app.callback()
def _global(
    version: Annotated[bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)] = False,
) -> None:
    if version:
        print(f"rain {rain.__version__}")
        raise typer.Exit


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 used wrongly, 130 interrupted."""
    try:
        code = app(standalone_mode=False)
    except (RainError, SettingsError) as error:
        _fail(str(error), getattr(error, "exit_code", 2))
    except (KeyboardInterrupt, typer.Abort):
        _fail("interrupted", 130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except OSError as error:
        _fail(f"cannot write or read: {error.strerror or error}", 1)
    except MemoryError:
        _fail("out of memory; try a smaller --context or a smaller model", 1)
    except Exception as error:
        # Wrong use of the command line: Typer brings its own copy of click, or uses the installed one, by version.
        tell = getattr(error, "format_message", None)
        if tell is None:
            raise
        context = getattr(error, "ctx", None)
        message = tell().rstrip(".")
        if not message:  # no arguments: the help was shown
            sys.exit(2)
        _fail(message + "." + (f" Try '{context.command_path} --help'." if context else ""), 2)
    sys.exit(code if isinstance(code, int) else 0)


def _fail(message: str, code: int) -> None:
    print(f"rain: {message}", file=sys.stderr)
    sys.exit(code)
