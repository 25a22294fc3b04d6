#!/bin/sh
# Figure 2: harmless and helpful replies to HH's harmless-base prompts, vanilla against RAIN; LLaMA-2 the same way.
# The paper: 202 prompts, GPT-4 as judge. Base models: add --style turns.
# Judges: the harm classifier, fitted to labelled_replies.jsonl in DATA (else RAIN_DATA, --harm-data FILE), and the
# refusal rule. Without such data JUDGE=refusal, which says nothing of harm. The classifier is weak (docs/judges.md):
# give a stronger judge, JUDGE=ai:MODEL with --judge-url, which alone says whether replies are helpful; or afterwards:
# rain eval verdicts OUT --judge ai:MODEL
# Not run by us on the paper's models. Hardware: a GPU that holds the model and its cache: 24 GB for 7B and 40 GB for
# 13B in 16 bits, 80 GB for 30B and two of 80 GB for 65B and 70B in 8 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval hh --model "$MODEL" --data "$DATA" --preset harmless --parallel "${PARALLEL:-8}" --methods vanilla,rain --limit 202 \
    --judge "${JUDGE:-harm-classifier,refusal}" --out "${OUT:-runs/hh/$(basename "$MODEL")}" "$@"
