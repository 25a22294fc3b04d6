#!/bin/sh
# Figure 2: harmless and helpful replies to HH's harmless-base prompts, vanilla against RAIN; LLaMA-2 the same way.
# The paper: 202 prompts, GPT-4 as judge (JUDGE=ai:MODEL with --judge-url). Base models: add --style turns.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval hh --model "$MODEL" --data "$DATA" --preset harmless --methods vanilla,rain --limit 202 \
    --judge "${JUDGE:-refusal}" --out "${OUT:-runs/hh/$(basename "$MODEL")}" "$@"
