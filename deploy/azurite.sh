#!/usr/bin/env bash
# Installs Azurite (Azure Blob Storage for tests) into the cache, and node with npm where they are missing.
set -euo pipefail
AZURITE_VERSION=3.37.0
folder="${CONTACTFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/contactflow}/azurite"

say() { printf 'azurite: %s\n' "$*"; }
as_root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

[ "$(cat "$folder/version" 2>/dev/null)" = "$AZURITE_VERSION" ] && exit
if ! command -v npm >/dev/null 2>&1; then
  say "installing Debian's nodejs and npm"
  as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq nodejs npm' >/dev/null
fi
say "installing Azurite $AZURITE_VERSION into $folder"
mkdir -p "$folder"
exec 9>"$folder/lock"
flock 9
npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$folder" "azurite@$AZURITE_VERSION"
echo "$AZURITE_VERSION" > "$folder/version"
