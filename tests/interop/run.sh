#!/usr/bin/env bash
# Installs and builds what the js-libp2p interop tests need (npm packages at the pinned versions, our relay, and the wasm
# of the plain peer), and runs them:
#
#   tests/interop/run.sh meet [ROUNDS [SCENARIO]]    runs the tests, in a debug build
#   tests/interop/run.sh bench [RUNS]                runs the benchmark, in the profile of the shipped build

set -eu -o pipefail
cd "$(dirname "$0")"
what=${1:-meet}
count=${2:-}
scenario=${3:-}
# Cargo's own answer: CARGO_TARGET_DIR or a configuration file may name another folder.
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

case $what in
  meet) script=run.mjs profile=dev folder=debug ;;
  bench) script=bench.mjs profile=wasm folder=wasm ;;
  *)
    sed -n 's/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
cargo build -p relay
cargo build --target wasm32-unknown-unknown --profile "$profile" -p interop-peer
wasm-bindgen --target web --no-typescript --remove-name-section --remove-producers-section --out-dir "$target/interop-peer/$folder" \
  "$target/wasm32-unknown-unknown/$folder/interop_peer.wasm"

if [ "$what" = meet ]; then
  CARGO_TARGET_DIR=$target/websys-peer cargo build --manifest-path websys/Cargo.toml --target wasm32-unknown-unknown
  wasm-bindgen --target web --no-typescript --out-dir "$target/interop-peer/$folder" \
    "$target/websys-peer/wasm32-unknown-unknown/debug/websys_peer.wasm"

  # Build the example with the commands from its README.
  cargo build -p libp2p-webrtc-browser --example two_tabs --target wasm32-unknown-unknown
  wasm-bindgen --target web --out-dir "$target/two_tabs" "$target/wasm32-unknown-unknown/debug/examples/two_tabs.wasm"
  cargo build -p libp2p-webrtc-browser --example two_tabs_relay
fi

# Playwright uses the installed Chromium, and never downloads its own.
CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
export CHROMIUM
# Where the scripts find the relays.
export CARGO_TARGET_DIR=$target
exec node "$script" "$target/interop-peer/$folder" ${count:+"$count"} ${scenario:+"$scenario"}
