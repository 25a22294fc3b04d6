#!/bin/sh
# Best of 500 replies, chosen by the model's own judgement, against RAIN (appendix).
# Judges: the harm classifier, fitted to labelled_replies.jsonl in DATA (else RAIN_DATA, --harm-data FILE), and the
# refusal rule. Without such data JUDGE=refusal, which says nothing of harm. The classifier is weak (docs/judges.md):
# give a stronger judge, JUDGE=ai:MODEL with --judge-url.
# RAIN against it in pairs, afterwards: rain eval verdicts OUT --judge ai:MODEL --measure better --against best-of-500
# Not run by us on the paper's models.
# Hardware: a GPU of 24 GB for 7B in 16 bits, 80 GB for 30B in 8 bits; more cache lets it draw more at once.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval hh --model "$MODEL" --data "$DATA" --preset harmless --parallel "${PARALLEL:-8}" --methods vanilla,rain,best-of-500 --limit 202 \
    --judge "${JUDGE:-harm-classifier,refusal}" --out "${OUT:-runs/best-of-500/$(basename "$MODEL")}" "$@"
