"""``rain generate``: one reply."""

from __future__ import annotations

import asyncio
import contextlib
import json as json_module
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from rain.cli import options
from rain.errors import UsageError

if TYPE_CHECKING:
    from rain.api import Model
    from rain.reply import Reply
    from rain.request import Options, Prompt


def generate(
    prompt: Annotated[
        str | None, typer.Argument(help="What to answer or to continue; '-' reads standard input.")
    ] = None,
    preference: options.Preference = None,
    prefer: options.Prefer = None,
    preset: options.Preset = None,
    evaluator: options.Evaluator = None,
    placement: options.Placement = None,
    wording: options.Wording = None,
    system: options.System = None,
    messages: options.Messages = None,
    style: options.Style = None,
    mode: options.Mode = None,
    hold_back: options.HoldBack = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
    on_failure: options.OnFailure = "best",
    require_check: options.RequireCheck = False,
    max_tokens: options.MaxTokens = 128,
    max_iterations: options.MaxIterations = None,
    max_forward_tokens: options.MaxForwardTokens = None,
    max_seconds: options.MaxSeconds = None,
    model: options.ModelName = "smollm2",
    judge_model: options.JudgeModel = None,
    context: options.Context = None,
    threads: options.Threads = None,
    gpu_layers: options.GpuLayers = 0,
    encoder: options.Encoder = "wordllama",
    json: options.Json = False,
    quiet: options.Quiet = False,
    trace: options.Trace = None,
) -> int:
    """Write one reply; on a terminal you see the search try, rewind and commit.

    Examples:

        rain generate "The film opens with" --preference positive --style plain

        rain generate "How do I sharpen a knife?" --prefer "Answer like a patient teacher" --max-seconds 30

        echo "Is the moon bigger than the sun?" | rain generate - --preset truthful --json
    """
    asked = _prompt(prompt, messages)
    budget = options.budget(max_tokens, max_iterations, max_forward_tokens, max_seconds)
    wanted = cast(
        "Options",
        {
            "preference": preference,
            "prefer": prefer,
            "preset": preset,
            "evaluator": evaluator,
            "placement": placement,
            "wording": wording,
            "system": system,
            "style": style,
            "mode": mode,
            "hold_back": hold_back,
            "settings": options.settings(set_),
            "seed": seed,
            "on_failure": on_failure,
            "require_check": require_check,
            "budget": budget,
            "trace": trace,
        },
    )
    check(wanted)
    with options.load(model, context, threads, gpu_layers, encoder, judge_model) as loaded:
        options.tell(loaded.trust(asked, **wanted), quiet)
        before = asked if isinstance(asked, str) and style == "plain" else ""
        reply, interrupted = answer(loaded, asked, wanted, visible=not (json or quiet), before=before)
    show(reply, json=json, quiet=quiet)
    return 130 if interrupted else 0


def check(wanted: Options) -> None:
    """Raise UsageError or SettingsError for what can be seen to be wrong without a model."""
    from rain.request import check_options

    check_options(wanted)


def answer(model: Model, prompt: Prompt, wanted: Options, *, visible: bool, before: str = "") -> tuple[Reply, bool]:
    """Search a reply, drawn on the terminal if there is one. The first Ctrl-C ends it with what is committed."""
    from rich.console import Console

    from rain.api import run
    from rain.cli.live import View
    from rain.reply import Reply

    console = Console()
    shown = visible and console.is_terminal
    decides = wanted.get("on_failure") in ("refuse", "raise")
    waiting = console.status("at work; nothing is shown before the whole reply has passed …")

    async def work() -> tuple[Reply, bool]:
        cancel = asyncio.Event()
        with contextlib.suppress(NotImplementedError, RuntimeError):  # Windows, or not the main thread

            def interrupt() -> None:
                cancel.set()
                asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)  # the second Ctrl-C kills

            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupt)
        with (waiting if decides else View(console, before)) if shown else contextlib.nullcontext() as view:
            options_: Any = {**wanted, "cancel": cancel}
            async for event in model.stream(prompt, **options_):
                if isinstance(event, Reply):
                    return event, event.stopped_by == "cancelled"
                if isinstance(view, View):
                    view.show(event)
        raise AssertionError("a stream ends with its reply")

    return run(work())


def show(reply: Reply, *, json: bool, quiet: bool) -> None:
    """The reply on standard output; on a terminal one line about it on standard error."""
    from rain.cli.live import clean

    if json:
        print(json_module.dumps(reply.as_dict()))
        return
    print(clean(reply.text))
    if not quiet and sys.stderr.isatty():
        print(summary(reply), file=sys.stderr)


def summary(reply: Reply) -> str:
    """One line: score and whether it passed, what the reply cost, and what ended the search early."""
    usage = reply.usage
    parts = [] if reply.score is None else [f"score {reply.score:+.2f}"]
    refused = reply.finish_reason == "content_filter"
    if reply.passed is False and reply.judge:
        parts[0] += f" (not above {reply.judge['threshold']:+.2f}: {'refused' if refused else 'the best found'})"
    parts += [
        f"{usage.iterations} iterations",
        f"{usage.rewinds} rewinds",
        f"{usage.forward_tokens:,} forward tokens for {usage.completion_tokens}",
        f"{usage.seconds:.1f} s",
    ]
    if usage.judge_forward_tokens and reply.judge:
        parts.insert(-1, f"{usage.judge_forward_tokens:,} more by the judge {reply.judge['model']}")
    if reply.stopped_by:
        parts.append(f"stopped by {reply.stopped_by}" + ("" if refused else ": the best known"))
    return ", ".join(parts)


def _prompt(prompt: str | None, messages: Path | None) -> Prompt:
    if (prompt is None) == (messages is None):
        raise UsageError("give a PROMPT ('-' reads standard input) or --messages FILE")
    if messages is not None:
        try:
            text = messages.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--messages {messages}: cannot be read: {error}") from None
        from rain.chat import parse_messages

        return [{"role": message.role, "content": message.content} for message in parse_messages(text)]
    text = sys.stdin.read() if prompt == "-" else prompt or ""
    if not text.strip():
        raise UsageError("the prompt is empty; say what to answer or to continue")
    return text.removesuffix("\n") if prompt == "-" else text
