#!/usr/bin/env bash
# The whole program on a large history: events of a million conversations (no texts, in order), one `run --once` without
# the model. Prints what the program says, its time and its peak memory.
#
#   benches/floor.sh
#   FLOOR_CONVERSATIONS=200000 FLOOR_WORKERS=4 benches/floor.sh
set -euo pipefail
cd "$(dirname "$0")/.."

CONVERSATIONS="${FLOOR_CONVERSATIONS:-1000000}"
WORKERS="${FLOOR_WORKERS:-2}"
BIN="${CARGO_TARGET_DIR:-target}/debug/contactflow"

cargo build --workspace --bins --locked
folder=$(mktemp -d "${TMPDIR:-/tmp}/contactflow-floor.XXXXXX")
trap 'rm -rf "$folder"' EXIT

"$BIN" generate --output "$folder/events" --conversations "$CONVERSATIONS" --agents 500 --days 30 --text off --disorder off
du -sh "$folder/events" | sed 's/\t.*/ of events/'
python3 - "$BIN" run --once --input "$folder/events" --output "$folder/tables" --workers "$WORKERS" --inference off <<'PY'
import resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.run(sys.argv[1:], stdin=subprocess.DEVNULL).returncode
elapsed = time.monotonic() - started
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"floor: {elapsed:.1f} s, {usage.ru_utime + usage.ru_stime:.1f} s of CPU, peak memory {usage.ru_maxrss / 1024:.0f} MiB")
sys.exit(code)
PY
du -sh "$folder/tables" | sed 's/\t.*/ of tables/'
