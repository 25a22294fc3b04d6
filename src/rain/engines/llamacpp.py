"""llama.cpp in this process: one context, many sequences, one cache. The only file that knows its calls.

Sequences share cells (``kv_unified``), so that a fork is bookkeeping; every token is computed on one sequence and then
shared, since a token of several sequences must have the same positions in all of them. Models whose memory cannot be
rewound (recurrent, hybrid) are refused.
"""

from __future__ import annotations

import atexit
import ctypes
import importlib
import os
import weakref
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from rain.engines import fingerprint
from rain.engines.batcher import Batcher
from rain.engines.engine import Capabilities, Tokenizer
from rain.engines.prefixes import Tokens
from rain.engines.sampling import Row
from rain.engines.steps import NoRoom, Stepper
from rain.errors import EngineError, MissingExtra, UsageError
from rain.search.asks import Question, Result, Usage

CONTEXT = 4096
"""Cells shared by everything, unless the user says otherwise or the model was trained on fewer."""
SEQUENCES = range(32, 129)
"""As many as the cells hold 64 tokens each, within these: each takes a row of logits, 0.2 MB for 49,152 tokens."""
BATCH = 512
"""Tokens of one step at most."""
ONE_BY_ONE = 63
"""Tokens that the CPU computes at once at most: from 64 on it attends in tiles, which round differently."""
ROW_BUFFER = 64 << 20
"""Bytes that llama.cpp may use for rows of logits: large vocabularies get fewer sequences."""
REMEMBERED_ROWS = 16 << 20
"""Bytes of rows that are remembered with prefixes."""


class LlamaCppEngine:
    """A GGUF model behind the four questions (see :class:`rain.engines.engine.Engine`)."""

    def __init__(
        self,
        path: Path,
        *,
        source: Path | None = None,
        name: str | None = None,
        context: int | None = None,
        threads: int | None = None,
        gpu_layers: int = 0,
        sequences: int | None = None,
        exact: bool = False,
    ) -> None:
        """Load ``path``. ``gpu_layers`` -1 is all. Raises EngineError if llama.cpp cannot use the file.

        exact: on a CPU, compute few enough tokens at once for logits not to depend on what else is among them; long
        texts are read slower. source: the file whose weights these are, where ``path`` is a copy in another form
        (:mod:`rain.engines.form`).
        """
        self._model = LlamaModel(path, context, threads or os.cpu_count() or 1, gpu_layers, sequences, exact)
        self.name = name or path.name
        self.path = source or path
        tokenizer = LlamaTokenizer(self._model)
        self.tokenizer: Tokenizer = tokenizer
        self.can = Capabilities(context=self._model.cells, sequences=self._model.sequences)
        self.template = self._model.meta("tokenizer.chat_template")
        self.template_tokens = tokenizer.template_tokens()
        self._stepper = Stepper(
            self._model, self.tokenizer, self._model.sequences, self._model.cells, row_bytes=REMEMBERED_ROWS
        )
        self._batcher = Batcher(self._stepper, self._model.close)
        # The thread must be gone before the interpreter is, and an engine that nobody holds must not live on.
        self._finalizer = weakref.finalize(self, self._batcher.close)

    async def answer(self, question: Question, *, limit: int | None = None) -> tuple[Result, Usage]:
        return await self._batcher.answer(question, limit)

    def close(self) -> None:
        self._finalizer()

    @property
    def totals(self) -> Usage:
        """What was computed since the model was loaded: forward tokens and calls."""
        return Usage(forward_tokens=self._stepper.forward_tokens, calls=self._stepper.calls)

    @property
    def cells_used(self) -> int:
        """Cells in use once everything that died is freed; waits for the current step."""
        return self._batcher.call(lambda: self._stepper.table.used) or 0

    @property
    def peak_cells(self) -> int:
        """The most cells that were ever in use."""
        return self._stepper.table.peak

    @property
    def seconds(self) -> dict[str, float]:
        """Where the engine's time went since the model was loaded, see :attr:`Stepper.seconds`."""
        return dict(self._stepper.seconds)

    @property
    def bytes(self) -> int:
        """Of the weights and the cache, all of which the process holds."""
        return self._model.bytes

    @property
    def fingerprint(self) -> str:
        """The beginning of :attr:`weights_hash`."""
        return fingerprint.of_file(self.path)

    @property
    def weights_hash(self) -> str:
        """SHA-256 of the model file, in hex; remembered by path, time and size."""
        return fingerprint.weights_hash(self.path)


class LlamaModel:
    """llama.cpp's model, context and memory. Used by one thread at a time."""

    max_tokens = BATCH

    def __init__(
        self, path: Path, context: int | None, threads: int, gpu_layers: int, sequences: int | None, exact: bool
    ) -> None:
        self._llama = library()
        self._complaints: deque[str] = deque(maxlen=4)
        self._model, self._context = self._load(path, context, threads, gpu_layers, sequences, exact)
        llama = self._llama
        self.vocab = llama.llama_model_get_vocab(self._model)
        self.vocabulary: int = llama.llama_vocab_n_tokens(self.vocab)
        self._memory = llama.llama_get_memory(self._context)
        self._windowed: bool = llama.llama_model_n_swa(self._model) > 0
        self._batch = _Batch(llama, BATCH)

    def _load(
        self, path: Path, context: int | None, threads: int, gpu_layers: int, sequences: int | None, exact: bool
    ) -> tuple[Any, Any]:
        llama = self._llama
        _LISTENERS.append(self._complaints)
        try:
            parameters = llama.llama_model_default_params()
            parameters.n_gpu_layers = gpu_layers
            model = llama.llama_model_load_from_file(os.fsencode(path), parameters)
            if not model:
                raise EngineError(f"{path}: llama.cpp cannot load this model{self._why()}")
            refusal = _refusal(llama, model)
            if refusal:
                llama.llama_model_free(model)
                raise EngineError(f"{path}: {refusal}")
            trained: int = llama.llama_model_n_ctx_train(model)
            vocabulary: int = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))
            self.cells = context or min(CONTEXT, trained or CONTEXT)
            usual = min(max(self.cells // 64, SEQUENCES[0]), SEQUENCES[-1])
            self.sequences = min(
                sequences or usual, llama.llama_max_parallel_sequences(), max(1, ROW_BUFFER // (4 * vocabulary))
            )
            self.max_rows = max(self.sequences, min(64, ROW_BUFFER // (4 * vocabulary)))
            settings = llama.llama_context_default_params()
            settings.n_ctx = self.cells
            settings.n_batch = BATCH
            settings.n_ubatch = ONE_BY_ONE if exact and not gpu_layers else BATCH
            settings.n_outputs_max = self.max_rows
            settings.n_seq_max = self.sequences
            settings.n_threads = settings.n_threads_batch = threads
            settings.kv_unified = True
            # Attention cell by cell, not for speed: a token's logits then depend neither on the cells it lies in nor,
            # with weights like Q8_0, on what else is in its batch. So a draft is vanilla's text to the letter.
            settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
            # A window-sized cache forgets what a rewind needs.
            settings.swa_full = True
            settings.no_perf = True
            made = llama.llama_init_from_model(model, settings)
            if not made:
                settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_AUTO
                made = llama.llama_init_from_model(model, settings)
            if not made:
                llama.llama_model_free(model)
                raise EngineError(f"{path}: no context of {self.cells} tokens could be made{self._why()}")
            return model, made
        finally:
            _LISTENERS.remove(self._complaints)

    def _why(self) -> str:
        return f" ({self._complaints[-1]})" if self._complaints else ""

    def meta(self, key: str) -> str | None:
        """A text from the file's header, None if it is not there."""
        size = 256
        while True:
            text = ctypes.create_string_buffer(size)
            length = self._llama.llama_model_meta_val_str(self._model, key.encode(), text, size)
            if length < 0:
                return None
            if length < size:
                return text.value.decode(errors="replace")
            size = length + 1

    @property
    def bytes(self) -> int:
        """Of the weights and of the cache (keys and values of two bytes in every layer)."""
        llama, model = self._llama, self._model
        usual: int = llama.llama_model_n_embd(model) // llama.llama_model_n_head(model)
        architecture = self.meta("general.architecture")
        lengths = (self.meta(f"{architecture}.attention.{part}_length") for part in ("key", "value"))
        of_a_cell: int = llama.llama_model_n_layer(model) * llama.llama_model_n_head_kv(model) * 2
        weights: int = llama.llama_model_size(model)
        return weights + self.cells * of_a_cell * sum(int(length or usual) for length in lengths)

    def decode(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> Row:
        self._batch.fill(tokens, positions, sequences, wanted)
        status: int = self._llama.llama_decode(self._context, self._batch.struct)
        if status == 1:
            raise NoRoom
        if status != 0:
            raise EngineError(f"llama.cpp failed to compute a batch of {len(tokens)} tokens (llama_decode: {status})")
        rows = int(wanted.sum())
        if not rows:
            return np.empty((0, self.vocabulary), np.float32)
        return np.ctypeslib.as_array(self._llama.llama_get_logits(self._context), (rows, self.vocabulary))

    def copy(self, source: int, target: int, length: int) -> bool:
        self._llama.llama_memory_seq_cp(self._memory, source, target, 0, length)
        return self._whole(target)

    def cut(self, sequence: int, length: int) -> bool:
        # Removing a whole sequence never fails, a part of it may.
        done: bool = self._llama.llama_memory_seq_rm(self._memory, sequence, length if length else -1, -1)
        return length == 0 or (done and self._whole(sequence))

    def close(self) -> None:
        self._llama.llama_free(self._context)
        self._llama.llama_model_free(self._model)

    def _whole(self, sequence: int) -> bool:
        """Whether the beginning is still there: a sliding window may have let go of it."""
        return not self._windowed or self._llama.llama_memory_seq_pos_min(self._memory, sequence) == 0


class LlamaTokenizer:
    """A GGUF model's vocabulary, read once."""

    def __init__(self, model: LlamaModel) -> None:
        self._llama, self._vocab = model._llama, model.vocab
        llama, vocab = self._llama, self._vocab
        self.eos = frozenset(t for t in range(model.vocabulary) if llama.llama_vocab_is_eog(vocab, t))
        bos: int = llama.llama_vocab_bos(vocab)
        self._adds_bos: bool = llama.llama_vocab_get_add_bos(vocab)
        self.bos = bos if bos >= 0 and self._adds_bos else None
        self._pieces: dict[int, bytes] = {}

    def encode(self, text: str, *, special: bool = False, bos: bool = False) -> tuple[int, ...]:
        data = text.encode("utf-8", errors="replace")
        room = len(data) + 8
        while True:
            tokens = (ctypes.c_int32 * room)()
            count: int = self._llama.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
            if count >= 0:
                break
            room = -count
        found = tuple(tokens[:count])
        # Not left to the library, which would also add what some vocabularies want at the end.
        return (self.bos, *found) if bos and self.bos is not None else found

    def piece(self, token: int) -> bytes:
        piece = self._pieces.get(token)
        if piece is None:
            piece = self._pieces[token] = b"" if token in self.eos else self._read(token, special=False)
        return piece

    def decode(self, tokens: tuple[int, ...]) -> str:
        return b"".join(self.piece(token) for token in tokens).decode("utf-8", errors="replace")

    def template_tokens(self) -> dict[str, str]:
        """``bos_token`` and ``eos_token`` as text, empty where the vocabulary has none."""
        ids = {
            "bos_token": self._llama.llama_vocab_bos(self._vocab),
            "eos_token": self._llama.llama_vocab_eos(self._vocab),
        }
        return {
            name: self._read(token, special=True).decode(errors="replace") if token >= 0 else ""
            for name, token in ids.items()
        }

    def _read(self, token: int, special: bool) -> bytes:
        size = 64
        while True:
            text = ctypes.create_string_buffer(size)
            length: int = self._llama.llama_token_to_piece(self._vocab, token, text, size, 0, special)
            if length >= 0:
                return text.raw[:length]
            size = -length


class _Batch:
    """A llama_batch over numpy arrays, filled in place; one sequence a token."""

    def __init__(self, llama: Any, size: int) -> None:
        self._tokens = np.zeros(size, np.int32)
        self._positions = np.zeros(size, np.int32)
        self._counts = np.ones(size, np.int32)
        self._sequences = np.zeros(size, np.int32)
        self._wanted = np.zeros(size, np.int8)
        start = self._sequences.ctypes.data
        self._pointers = (start + 4 * np.arange(size)).astype(np.uintp)
        ints = ctypes.POINTER(ctypes.c_int32)
        self.struct = llama.llama_batch(
            n_tokens=0,
            token=_pointer(self._tokens, ints),
            embd=None,
            pos=_pointer(self._positions, ints),
            n_seq_id=_pointer(self._counts, ints),
            seq_id=_pointer(self._pointers, ctypes.POINTER(ints)),
            logits=_pointer(self._wanted, ctypes.POINTER(ctypes.c_int8)),
        )

    def fill(self, tokens: Tokens, positions: Tokens, sequences: Tokens, wanted: Tokens) -> None:
        count = len(tokens)
        self._tokens[:count], self._positions[:count] = tokens, positions
        self._sequences[:count], self._wanted[:count] = sequences, wanted
        self.struct.n_tokens = count


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return ctypes.cast(array.ctypes.data, kind)


def _refusal(llama: Any, model: Any) -> str | None:
    """Why a model cannot be searched, None if it can."""
    if llama.llama_model_is_recurrent(model) or llama.llama_model_is_hybrid(model):
        return (
            "this model has a recurrent memory, which cannot be rewound; "
            "use a model with attention only (Llama, Qwen2.5, Gemma, SmolLM2 …)"
        )
    if llama.llama_model_has_encoder(model) or not llama.llama_model_has_decoder(model):
        return "this model does not continue text; use a decoder-only language model"
    if llama.llama_model_is_diffusion(model):
        return "this is a diffusion model, which does not write from left to right; use another model"
    return None


_LISTENERS: list[deque[str]] = []
_LOG: list[Any] = []
"""The log callback; llama.cpp calls it for as long as the process lives, so it must not be collected."""


def library() -> Any:
    """llama.cpp's calls, its log silenced. Raises MissingExtra."""
    # OpenMP reads this once, when it is loaded. By default its threads spin for long at every barrier, hundreds of
    # times a token: where another process wants a core, too, a step then takes ten times longer. Asleep at once
    # (policy "passive") it takes twice its time on a free machine. A short spin costs nothing in either case.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "3000")
    try:
        llama = importlib.import_module("llama_cpp.llama_cpp")
    except ImportError as error:
        raise MissingExtra(
            "GGUF models need llama-cpp-python: pip install 'rain-lm[llamacpp]' (compiles for some minutes; ready "
            "wheels: pip install llama-cpp-python --only-binary llama-cpp-python "
            f"--extra-index-url https://abetlen.github.io/llama-cpp-python/whl/cpu) [{error}]"
        ) from error
    except (OSError, RuntimeError) as error:
        raise EngineError(f"llama-cpp-python is installed but does not load: {error}") from error
    if not _LOG:

        def listen(level: int, text: bytes, _: object) -> None:
            line = text.decode(errors="replace").strip() if text else ""
            if level == 3 and line:
                for complaints in _LISTENERS:
                    complaints.append(line)

        _LOG.append(llama.llama_log_callback(listen))
        llama.llama_log_set(_LOG[0], ctypes.c_void_p(0))
        llama.llama_backend_init()
        # At exit, Python's callback is gone before llama.cpp says its last words.
        atexit.register(llama.llama_log_set, llama.llama_log_callback(), ctypes.c_void_p(0))
    return llama


def check_settings(context: int | None, threads: int | None, sequences: int | None) -> None:
    """Raises UsageError for numbers that make no sense."""
    for name, value in (("context", context), ("threads", threads), ("sequences", sequences)):
        if value is not None and value < 1:
            raise UsageError(f"{name} is {value}; it must be at least 1")
