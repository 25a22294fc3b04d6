#!/bin/sh
# Attack success under GCG suffixes, vanilla against RAIN, with the paper's adversarial settings.
# White-box where MODEL is the Vicuna-13B that the suffixes were found on, else transferred.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval advbench --attack gcg,unattacked --model "$MODEL" --data "$DATA" --preset adversarial \
    --methods vanilla,rain --limit 200 --judge "${JUDGE:-refusal}" --out "${OUT:-runs/gcg/$(basename "$MODEL")}" "$@"
