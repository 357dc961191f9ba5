#!/usr/bin/env bash
# `make test`: every test of the workspace. What a documentation example says is tested first, where there is one, so
# that the closing lines of the test runner come last.
set -euo pipefail
cd "$(dirname "$0")/.."

deploy/setup.sh --readers --multilingual
deploy/azurite.sh || echo "test: AZURITE COULD NOT BE INSTALLED: nothing will be tested on Azure" >&2
if cargo nextest --version >/dev/null 2>&1; then
  # nextest does not run documentation examples; a comment block that opens with a plain or rust fence is one.
  if awk 'FNR == 1 { open = 0 }
          /^[ \t]*\/\/[\/!] ```/ { if (!open && $0 ~ /```(rust.*|no_run|should_panic|)$/) found = 1; open = !open }
          END { exit !found }' $(git ls-files '*/src/*.rs'); then
    cargo test --workspace --locked --doc
  fi
  exec cargo nextest run --workspace --locked --no-fail-fast
fi
exec cargo test --workspace --locked --no-fail-fast
