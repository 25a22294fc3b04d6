#!/bin/sh
# Controlled sentiment: beginnings of IMDB reviews continued, vanilla against RAIN.
# DATA=folder takes the sentences about films in it; without DATA (and RAIN_DATA) the hub's IMDB: pip install datasets.
# Not run by us on the paper's models. Hardware: a GPU of 24 GB for 7B in 16 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
exec rain eval imdb --model "$MODEL" ${DATA:+--data "$DATA"} --preset positive --parallel "${PARALLEL:-8}" --methods vanilla,rain --limit 1000 \
    --judge "${JUDGE:-vader}" --out "${OUT:-runs/imdb/$(basename "$MODEL")}" "$@"
