#!/bin/sh
# TruthfulQA: true, and informative. The paper asks two fine-tuned GPT-3 judges that are gone; JUDGE=ai:MODEL asks another.
# Without one, the reference overlaps of lm-evaluation-harness.
# Not run by us on the paper's models. Hardware: a GPU of 40 GB for 13B in 16 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval truthfulqa --model "$MODEL" --data "$DATA" --preset truthful --parallel "${PARALLEL:-8}" --methods vanilla,rain --limit 817 \
    --judge "${JUDGE:-overlap}" --out "${OUT:-runs/truthfulqa/$(basename "$MODEL")}" "$@"
