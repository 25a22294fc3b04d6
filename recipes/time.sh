#!/bin/sh
# Time over ordinary decoding. The paper compares with decoding without a cache; rain bench with a cached one.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
exec rain bench --model "$MODEL" --modes vanilla,faithful --limit 8 --max-tokens 47 --preference harmless --style chat "$@"
