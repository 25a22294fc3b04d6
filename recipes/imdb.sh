#!/bin/sh
# Controlled sentiment: beginnings of IMDB reviews continued, vanilla against RAIN.
# Not run by us on the paper's models. Hardware: a GPU of 24 GB for 7B in 16 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
: "${DATA:?DATA=folder with the data, see docs/evaluation.md}"
exec rain eval imdb --model "$MODEL" --data "$DATA" --preset positive --methods vanilla,rain --limit 1000 \
    --judge "${JUDGE:-vader}" --out "${OUT:-runs/imdb/$(basename "$MODEL")}" "$@"
