#!/bin/sh
# Ablation under attack, cumulative: all, - similarity, - node addition, - exploration.
# Judges: the harm classifier, fitted to labelled_replies.jsonl in DATA (else RAIN_DATA, --harm-data FILE), and the
# refusal rule. Without such data JUDGE=refusal, which says nothing of harm. The classifier is weak (docs/judges.md):
# give a stronger judge, JUDGE=ai:MODEL with --judge-url.
# Not run by us on the paper's models. Hardware: a GPU of 40 GB for 13B in 16 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval advbench --attack gcg --model "$MODEL" --data "$DATA" --preset adversarial --parallel "${PARALLEL:-8}" --methods \
    'vanilla,rain,rain[similarity=off],rain[similarity=off,node_addition=off],rain[similarity=off,node_addition=off,exploration=0]' \
    --limit 100 --judge "${JUDGE:-harm-classifier,refusal}" --out "${OUT:-runs/ablation/$(basename "$MODEL")}" "$@"
