#!/usr/bin/env bash
# `make bench-inference`: our encoder against transformers on PyTorch. Fetches PyTorch with its CUDA libraries (3 GB) into an
# environment of its own, once. Arguments go to compare.py.
#
# CONTACTFLOW_BENCH_TEXTS   a text per line (default: those of ../shared/data/events/twitter_support.ndjson.gz, where that is
#                           missing generated ones)
set -euo pipefail
cd "$(dirname "$0")/../.."

CACHE="${CONTACTFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/contactflow}"
VENV="$CACHE/venv-torch"
if [ ! -f "$VENV/ready" ]; then
  python3 -m venv "$VENV"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check \
    --find-links "$CACHE/downloads/torch-2.13.0" torch==2.13.0 transformers==5.24.0 numpy safetensors
  touch "$VENV/ready"
fi
cargo build --workspace --example throughput --bins --locked
TARGET="${CARGO_TARGET_DIR:-target}/debug"
WORK=$(mktemp -d)
trap 'rm -rf "$WORK"' EXIT
TEXTS="${CONTACTFLOW_BENCH_TEXTS:-}"
if [ -z "$TEXTS" ]; then
  TEXTS="$WORK/texts.txt"
  TWITTER=../shared/data/events/twitter_support.ndjson.gz
  if [ -f "$TWITTER" ]; then
    EVENTS=("$TWITTER")
  else
    "$TARGET/contactflow" generate --output "$WORK/events" --conversations 600 --seed 7 --format ndjson >&2
    mapfile -t EVENTS < <(find "$WORK/events" -name '*.ndjson*' -not -path '*/_*' | sort)
  fi
  python3 benches/inference/texts.py "${EVENTS[@]}" > "$TEXTS"
fi
"$VENV/bin/python" benches/inference/compare.py "$TARGET/examples/throughput" "$TEXTS" "$CACHE/models/all-MiniLM-L6-v2" "$@"
