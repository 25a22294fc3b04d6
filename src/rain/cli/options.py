"""The options that commands share. One vocabulary: the library uses the same words with underscores."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rain.addresses import without_secrets
from rain.errors import UsageError
from rain.search.budget import Budget

if TYPE_CHECKING:
    from rain.api import Model
    from rain.preferences.trust import Trust

WANT, SEARCH, BUDGET, ENGINE, OUTPUT = "What to want", "The search", "The budget", "The engine", "Output"


def option(*names: str, help: str, panel: str, **more: Any) -> Any:
    """An option that an environment variable sets, too: ``--max-tokens`` and ``RAIN_MAX_TOKENS``."""
    variable = "RAIN_" + names[0].lstrip("-").replace("-", "_").upper()
    return typer.Option(*names, help=help, rich_help_panel=panel, envvar=variable, show_envvar=False, **more)


ModelName = Annotated[
    str,
    option("--model", "-m", panel=ENGINE, help="smollm2, path/x.gguf, or hf:owner/repo/file.gguf[@revision]."),
]
JudgeModel = Annotated[
    str | None,
    option("--judge-model", panel=ENGINE, help="Another frozen model to judge with; named as --model is."),
]
Preference = Annotated[
    str | None, option("--preference", "-p", panel=WANT, help="A built-in preference or a TOML file.")
]
Prefer = Annotated[
    str | None, option("--prefer", panel=WANT, help='A sentence of your own: "Answer like a patient teacher".')
]
Preset = Annotated[
    str | None,
    option(
        "--preset", panel=WANT, help="The paper's settings and evaluator: harmless, adversarial, truthful, positive."
    ),
]
Mode = Annotated[
    str | None,
    option(
        "--mode",
        panel=SEARCH,
        help="optimistic (draft, judge, search only where that fails), fast, faithful (the paper's search) or vanilla "
        "(ordinary decoding). Default optimistic; with --preset faithful.",
    ),
]
HoldBack = Annotated[
    str | None,
    option("--hold-back", panel=SEARCH, help="Optimistic: reply (default) or clause, judged before it is sent."),
]
Evaluator = Annotated[
    str | None,
    option(
        "--evaluator",
        panel=WANT,
        help="contrastive, choice, yes_no, one_word or openings, or several joined by '+'; any of them '+refusals'; or "
        "a classifier, module:function or transformers:FOLDER. Default the preference's own.",
    ),
]
Placement = Annotated[
    str | None,
    option("--placement", panel=WANT, help="Where questions are asked: in_place (behind the reply) or quoted."),
]
Wording = Annotated[
    str | None,
    option("--wording", panel=WANT, help="Ask in other words; 'rain preferences' lists them. Default the first."),
]
Set = Annotated[
    list[str] | None,
    option("--set", panel=SEARCH, help="Any constant by name, as in --set similarity=off --set exploration=0."),
]
Seed = Annotated[int, option("--seed", panel=SEARCH, help="The same seed gives the same text on the same machine.")]
MaxTokens = Annotated[int, option("--max-tokens", panel=BUDGET, help="Tokens of the reply; hard.")]
MaxIterations = Annotated[int | None, option("--max-iterations", panel=BUDGET, help="Iterations for the whole reply.")]
MaxForwardTokens = Annotated[
    int | None, option("--max-forward-tokens", panel=BUDGET, help="Tokens pushed through the model.")
]
MaxSeconds = Annotated[
    float | None, option("--max-seconds", panel=BUDGET, help="Seconds; then the best known is taken.")
]
OnFailure = Annotated[
    str, option("--on-failure", panel=SEARCH, help="When no reply passes within the budget: best, refuse or raise.")
]
RequireCheck = Annotated[
    bool,
    option("--require-check", panel=WANT, help="Stop unless 'rain check' found that the model can judge it."),
]
System = Annotated[str | None, option("--system", panel=WANT, help="A system message.")]
Messages = Annotated[
    Path | None,
    option("--messages", panel=WANT, help='A JSON file: [{"role": "user", "content": "…"}, …] instead of PROMPT.'),
]
Style = Annotated[
    str | None,
    option(
        "--style",
        panel=WANT,
        help="chat (the model's template), turns (base models) or plain (a text to be continued).",
    ),
]
Threads = Annotated[int | None, option("--threads", panel=ENGINE, help="CPU threads; default all cores.")]
GpuLayers = Annotated[int, option("--gpu-layers", panel=ENGINE, help="Layers on the GPU; -1 is all.")]
Context = Annotated[int | None, option("--context", panel=ENGINE, help="Tokens that the cache holds.")]
Encoder = Annotated[str, option("--encoder", panel=SEARCH, help="Sentence embeddings: wordllama or minilm.")]
Json = Annotated[bool, option("--json", panel=OUTPUT, help="One JSON object instead of the text.")]
Quiet = Annotated[bool, option("--quiet", "-q", panel=OUTPUT, help="Only the text, no search and no summary.")]
Trace = Annotated[Path | None, option("--trace", panel=OUTPUT, help="Write the whole search here, for 'rain replay'.")]


def tell(known: Trust | None, quiet: bool = False) -> None:
    """Say on standard error what is to be known of a judge; a warning is said however quiet it should be."""
    if known and known.line and (known.warn or not quiet):
        print(f"rain: {'warning: ' if known.warn else ''}{known.line}", file=sys.stderr)


def settings(pairs: list[str] | None) -> dict[str, object]:
    """``KEY=VALUE`` strings as a dictionary. Raises UsageError."""
    values: dict[str, object] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"--set {pair}: expected KEY=VALUE, as in --set similarity=off")
        values[name.strip().replace("-", "_")] = value
    return values


def budget(tokens: int, iterations: int | None, forward_tokens: int | None, seconds: float | None) -> Budget:
    """The budget of one reply. Raises SettingsError for numbers that cannot be."""
    return Budget(tokens, iterations, forward_tokens, seconds)


def engine_numbers(context: int | None, threads: int | None, gpu_layers: int) -> None:
    """Raises UsageError for numbers that cannot be, before a model is loaded."""
    for name, value, most in (("--context", context, 2**22), ("--threads", threads, 512)):
        if value is not None and not 0 < value <= most:
            raise UsageError(f"{name}: {value} must be above zero and at most {most:,}")
    if gpu_layers < -1:
        raise UsageError(f"--gpu-layers: {gpu_layers} must be -1 (all) or more")


def load(
    name: str,
    context: int | None,
    threads: int | None,
    gpu_layers: int,
    encoder: str,
    judge_model: str | None = None,
) -> Model:
    """Load the model and its judge, with a word on the terminal while that takes time."""
    from rich.console import Console

    from rain.api import load as load_model

    engine_numbers(context, threads, gpu_layers)
    console = Console(stderr=True)
    with console.status(f"loading {name} …") if sys.stderr.isatty() else _Nothing():
        return load_model(
            name,
            context=context,
            threads=threads,
            gpu_layers=gpu_layers,
            encoder=encoder,
            judge_model=judge_model,
        )


class _Nothing:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


def command_line() -> str:
    """The command as it was given; a password or a key in an address is nobody's business."""
    return shlex.join(["rain", *map(without_secrets, sys.argv[1:])])
