"""Started by test_run: runs the little evaluation in child processes and kills them, then once to its end.

Every write is cut in two with a rest between, so that many a child dies inside one.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from little import evaluation, scripted

from rain.evaluation import records, run

REST = 0.003
LONGEST = 0.3


def main() -> None:
    data, out, kills, seed = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    model, moments = scripted(), random.Random(seed)
    what, manifest = evaluation(model, data, out.with_name("warm"), limit=1)
    asyncio.run(run.run(model, what, manifest))  # everything is loaded now: a child begins to write at once

    def go() -> None:
        what, manifest = evaluation(model, data, out)
        asyncio.run(run.run(model, what, manifest))

    died = cut = 0
    for _ in range(kills):
        child = fork(lambda: slowly(go))
        time.sleep(moments.uniform(0.0, LONGEST))
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        died += os.WIFSIGNALED(status)
        file = out / records.SAMPLES
        cut += file.exists() and not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
    between = len(records.read_samples(out))
    _, status = os.waitpid(fork(go), 0)
    print(json.dumps({"died": died, "cut": cut, "between": between, "last": os.waitstatus_to_exitcode(status)}))


def fork(work: Callable[[], None]) -> int:
    child = os.fork()
    if child:
        return child
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def slowly(work: Callable[[], None]) -> None:
    write = os.write

    def half(file: int, data: bytes) -> int:
        done = write(file, data[: max(1, len(data) // 2)])
        time.sleep(REST)
        return done

    if sys.platform != "win32":
        os.write = half
    work()


main()
