"""The search on a terminal: committed text plain, what is being tried dimmed and taken back as the search rewinds."""

from __future__ import annotations

import re
from types import TracebackType

from rich.console import Console
from rich.live import Live
from rich.text import Text

from rain.search.events import BackedUp, Committed, Drafted, Event, LookedAhead, TakenBack, Tried

_CONTROL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """A model's text without terminal control characters; line ends and tabs stay."""
    return _CONTROL.sub("", text.replace("\r\n", "\n"))


class View:
    """Draws a search while it runs; leave it (a context manager) and the drawing is taken away."""

    def __init__(self, console: Console, before: str = "") -> None:
        self.console = console
        self.live = Live(console=console, transient=True, refresh_per_second=12, vertical_overflow="visible")
        self.before = before
        self.committed = ""
        self.path = ""
        self.beyond = ""
        self.iterations = self.rewinds = 0
        self.score: float | None = None

    def show(self, event: Event) -> None:
        """Take one event into the picture."""
        if isinstance(event, Tried):
            self.path, self.beyond = event.text, ""
            self.iterations, self.rewinds = event.iteration, self.rewinds + event.rewind
        elif isinstance(event, LookedAhead):
            self.beyond = event.text
        elif isinstance(event, BackedUp):
            self.score = event.score
        elif isinstance(event, Drafted):
            self.score = event.score
            self.path, self.beyond = ("", "") if event.passed else (event.text, "")
        elif isinstance(event, Committed):
            self.committed += event.text
            self.path, self.beyond = "", ""
        elif isinstance(event, TakenBack):
            self.committed = self.committed.removesuffix(event.text)
        self.live.update(self._picture())

    def _picture(self) -> Text:
        text = Text(clean(self.before), style="bold")
        text.append(clean(self.committed), style="not bold")
        text.append(clean(self.path), style="not bold dim")
        text.append(clean(self.beyond), style="not bold dim italic")
        # A live picture taller than the terminal cannot be taken back: show its end.
        lines = text.wrap(self.console, self.console.width)[-max(3, self.console.height - 3) :]
        picture = Text("\n").join(lines)
        score = "" if self.score is None else f", last score {self.score:+.2f}"
        picture.append(f"\n{self.iterations} iterations, {self.rewinds} rewinds{score}", style="not bold cyan")
        return picture

    def __enter__(self) -> View:
        self.live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.live.stop()
