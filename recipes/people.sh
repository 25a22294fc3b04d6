#!/bin/sh
# People against an AI judge, on a run of hh.sh (OUT): one page for all raters; then
#   rain human score RATINGS.json ... --key OUT/rating.key.json --ai OUT
# Rated by nobody for us. Hardware: none; ten people who rate (as in the paper).
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
run="${OUT:-runs/hh/$(basename "$MODEL")}"
exec rain human new "$run" --methods vanilla,rain --out "$run/rating.html" "$@"
