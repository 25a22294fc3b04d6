"""``rain chat``: a conversation."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, cast

from rain.cli import options
from rain.cli.generate import answer, check, show
from rain.errors import RainError

if TYPE_CHECKING:
    from rain.request import Options


def chat(
    preference: options.Preference = None,
    prefer: options.Prefer = None,
    evaluator: options.Evaluator = None,
    placement: options.Placement = None,
    wording: options.Wording = None,
    system: options.System = None,
    require_check: options.RequireCheck = False,
    mode: options.Mode = None,
    hold_back: options.HoldBack = None,
    set_: options.Set = None,
    seed: options.Seed = 0,
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
    quiet: options.Quiet = False,
) -> int:
    """Talk with the model; every answer is searched for. An empty line, 'exit' or Ctrl-D ends it.

    Example:

        rain chat --preference helpful --max-seconds 20
    """
    budget = options.budget(max_tokens, max_iterations, max_forward_tokens, max_seconds)
    wanted = cast(
        "Options",
        {
            "preference": preference,
            "prefer": prefer,
            "evaluator": evaluator,
            "placement": placement,
            "wording": wording,
            "system": system,
            "require_check": require_check,
            "mode": mode,
            "hold_back": hold_back,
            "settings": options.settings(set_),
            "budget": budget,
        },
    )
    check(wanted)
    messages: list[dict[str, str]] = []
    interactive = sys.stdin.isatty()
    if interactive:
        import readline  # noqa: F401  (line editing for input)
    with options.load(model, context, threads, gpu_layers, encoder, judge_model) as loaded:
        # Any words do: the judge is the same for all that will be said.
        options.tell(loaded.trust("Hello", **wanted), quiet)
        while True:
            try:
                said = input("> " if interactive else "").strip()
            except EOFError:
                return 0
            if not said or said in ("exit", "quit"):
                return 0
            messages.append({"role": "user", "content": said})
            wanted["seed"] = seed + len(messages)
            try:
                reply, _ = answer(loaded, messages, wanted, visible=not quiet)
            except RainError as error:
                print(f"rain: {error}", file=sys.stderr)
                messages.pop()
                continue
            show(reply, json=False, quiet=quiet)
            messages.append({"role": "assistant", "content": reply.text})
