"""`rain bench` on the embedded model, as a person reads it and as a program does."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real
BENCH = [sys.executable, "-c", "from rain.cli import main; main()", "bench", "--limit", "1", "--max-tokens", "6"]
MODES = ["--modes", "vanilla,optimistic,optimistic-clause,fast"]


def bench(*words: str) -> str:
    return subprocess.run([*BENCH, *words], capture_output=True, text=True, check=True, timeout=600).stdout


def test_the_table_has_every_figure_of_every_mode(tmp_path: Path) -> None:
    plot = tmp_path / "costs.svg"
    shown = bench(*MODES, "--profile", "--plot", str(plot))
    for words in (
        "forward tokens per token",
        "pairs quartiles",
        "seconds over vanilla",
        "passed",
        "profile: model",
        "beside model",
    ):
        assert words in shown
    assert "optimistic" in shown
    assert plot.read_text(encoding="utf-8").startswith("<?xml")


def test_parts_add_up_to_the_whole() -> None:
    found = json.loads(bench(*MODES, "--json"))
    modes = found["modes"]
    # Both are sizes of the same process; the weights (136 MiB) and the cache (90 MiB) are known.
    assert found["peak_mb"] - found["peak_mb_over_model_and_cache"] == pytest.approx(226.4, abs=0.2)
    assert set(modes) == {"vanilla", "optimistic", "optimistic-clause", "fast"}
    for figures in modes.values():
        parts = [
            figures[f"{part}_forward_tokens_per_token"] for part in ("draft", "expansion", "look_ahead", "judgement")
        ]
        assert sum(parts) == pytest.approx(figures["forward_tokens_per_token"], abs=0.001)
        assert figures["score"] is not None
        assert 200 < figures["peak_mb"] <= found["peak_mb"] + 1
    assert found["command"].endswith("--json")
    assert found["versions"]["llama-cpp-python"]
    assert modes["vanilla"]["seconds_over_vanilla"] == 1
