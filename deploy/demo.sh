#!/usr/bin/env bash
# `make demo`: a generated month of a small contact centre through the job, from nothing but the registries.
#
# DEMO_OUTPUT         where events and tables go (default: demo-output; its events and tables are removed first)
# DEMO_CONVERSATIONS  size of the month (default: 20000)
set -euo pipefail
cd "$(dirname "$0")/.."

OUTPUT="${DEMO_OUTPUT:-demo-output}"
CONVERSATIONS="${DEMO_CONVERSATIONS:-20000}"
BIN="${CARGO_TARGET_DIR:-target}/debug/contactflow"

step() { printf '\n== %s\n' "$*"; }

step "setup"
deploy/setup.sh
step "build"
cargo build --workspace --bins --locked

step "generate: $CONVERSATIONS conversations, 40 agents, 30 days, with planted incidents"
rm -rf "$OUTPUT/events" "$OUTPUT/tables"
"$BIN" generate --output "$OUTPUT/events" --conversations "$CONVERSATIONS" --agents 40 --days 30
step "run"
"$BIN" run --once --input "$OUTPUT/events" --output "$OUTPUT/tables" --workers 2
step "planted incidents and what the anomaly scores say"
"$BIN" incidents --output "$OUTPUT/tables" --truth "$OUTPUT/events/_truth/incidents.json"

cat <<END

The tables are in $OUTPUT/tables, as Parquet with Delta Lake logs. For example, with DuckDB:

  SELECT channel, sum(messages_inbound_count) AS inbound, sum(replies_count) AS replies,
         sum(reply_time_sum_ms) / sum(reply_time_count) / 60000.0 AS reply_minutes
  FROM delta_scan('$OUTPUT/tables/kpi_channel_day')
  GROUP BY channel ORDER BY inbound DESC;

README.md describes every table. 'make clean-demo' removes $OUTPUT.
END
