#!/usr/bin/env bash
# `make bench`. The dev profile is the optimised one of the demo and the tests (Cargo.toml), so nothing is built twice.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --workspace --bins --locked
cargo bench --workspace --locked --profile dev --bench functions
"${CARGO_TARGET_DIR:-target}/debug/late_event"
if [ "${BENCH_FLOOR:-1}" != 0 ]; then
  benches/floor.sh
  benches/recovery.sh
fi
