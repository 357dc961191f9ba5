#!/usr/bin/env bash
# How long a restart takes: one `run --once` over a history of about five million events (no texts, in order, no model), then
# another with the event files gone, which goes on from the state alone. Prints both times and peaks, what the state takes per
# conversation, and what `verify` says of the tables.
#
#   benches/recovery.sh
#   RECOVERY_CONVERSATIONS=100000 RECOVERY_WORKERS=4 benches/recovery.sh
set -euo pipefail
cd "$(dirname "$0")/.."

CONVERSATIONS="${RECOVERY_CONVERSATIONS:-580000}"
WORKERS="${RECOVERY_WORKERS:-2}"
BIN="${CARGO_TARGET_DIR:-target}/debug/contactflow"

cargo build --workspace --bins --locked
folder=$(mktemp -d "${TMPDIR:-/tmp}/contactflow-recovery.XXXXXX")
trap 'rm -rf "$folder"' EXIT

measured() { # NAME COMMAND…
  python3 - "$@" <<'PY'
import resource, subprocess, sys, time
started = time.monotonic()
code = subprocess.run(sys.argv[2:], stdin=subprocess.DEVNULL).returncode
usage = resource.getrusage(resource.RUSAGE_CHILDREN)
print(f"{sys.argv[1]}: {time.monotonic() - started:.1f} s, peak memory {usage.ru_maxrss / 1024:.0f} MiB", flush=True)
sys.exit(code)
PY
}

"$BIN" generate --output "$folder/events" --conversations "$CONVERSATIONS" --agents 500 --days 30 --text off --disorder off
run=("$BIN" run --once --input "$folder/events" --output "$folder/tables" --workers "$WORKERS" --inference off)
measured "first run" "${run[@]}"
rm -rf "$folder/events" && mkdir "$folder/events"
measured "recovery" "${run[@]}"
measured "verify" "$BIN" verify --output "$folder/tables" --workers "$WORKERS"
bytes=$(du -sb "$folder/tables/_contactflow/state" | cut -f1)
echo "state: $bytes bytes, $((bytes / CONVERSATIONS)) per conversation"
