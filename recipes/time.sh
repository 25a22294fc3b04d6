#!/bin/sh
# Time over ordinary decoding. The paper compares with decoding without a cache; rain bench with a cached one.
# Not run by us on the paper's models. Hardware: a GPU of 80 GB for 30B, two of 80 GB for 65B and 70B, in 8 bits.
set -eu
: "${MODEL:?MODEL=path/x.gguf or another model that rain takes}"
exec rain bench --model "$MODEL" --modes vanilla,faithful --limit 8 --max-tokens 47 --preference harmless --style chat "$@"
