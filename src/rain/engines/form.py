"""The embedded model in the form that computes fastest: a copy, made at the first load and kept in the user's cache.

The packaged Q4_1 reads at half the speed of its Q8_0 copy on a CPU (docs/decisions/0007-form-of-the-embedded-model.md).
The copy stands for the same weights: its fingerprint is that of the file it was made from.
"""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import tempfile
from pathlib import Path

from rain import cache
from rain.engines import fingerprint, gguf
from rain.engines.llamacpp import library
from rain.errors import UsageError

_log = logging.getLogger("rain")
NONE_MADE = "rain: no fast copy of the model in %s (%s); it reads at half the speed"


def q8_0_copy(source: Path) -> Path:
    """A Q8_0 copy of ``source``; ``source`` itself where none can be made or kept.

    Made whole or not at all, so that another process never loads half of it. Raises MissingExtra.
    """
    copy = cache.folder() / "models" / f"{fingerprint.of_file(source)}-q8_0.gguf"
    with contextlib.suppress(UsageError):
        gguf.check(copy)
        return copy
    llama = library()
    new = None
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=copy.parent, prefix=".", suffix=".new")
        os.close(handle)
        new = Path(name)
        settings = llama.llama_model_quantize_default_params()
        settings.ftype = llama.LLAMA_FTYPE_MOSTLY_Q8_0
        settings.allow_requantize = True
        if llama.llama_model_quantize(os.fsencode(source), os.fsencode(new), ctypes.byref(settings)) != 0:
            _log.warning(NONE_MADE, copy.parent, "llama.cpp could not make one")
            return source
        gguf.check(new)
        new.replace(copy)
    except (OSError, UsageError) as error:
        _log.warning(NONE_MADE, copy.parent, error)
        return source
    finally:
        if new is not None:
            new.unlink(missing_ok=True)
    return copy
