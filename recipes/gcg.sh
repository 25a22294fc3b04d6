#!/bin/sh
# Attack success under GCG suffixes, vanilla against RAIN, with the paper's adversarial settings.
# White-box where MODEL is the Vicuna-13B that the suffixes were found on, else transferred.
# Judges: the harm classifier, fitted to labelled_replies.jsonl in DATA (else RAIN_DATA, --harm-data FILE), and the
# refusal rule. Without such data JUDGE=refusal, which says nothing of harm. The classifier is weak (docs/judges.md):
# give a stronger judge, JUDGE=ai:MODEL with --judge-url.
# Not run by us on the paper's models.
# Hardware: a GPU that holds the model and its cache: 24 GB for 7B and 40 GB for 13B in 16 bits, 80 GB for 33B in 8 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval advbench --attack gcg,unattacked --model "$MODEL" --data "$DATA" --preset adversarial --parallel "${PARALLEL:-8}" \
    --methods vanilla,rain --limit 200 --judge "${JUDGE:-harm-classifier,refusal}" --out "${OUT:-runs/gcg/$(basename "$MODEL")}" "$@"
