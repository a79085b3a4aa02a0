#!/usr/bin/env bash
# Builds what the meetings with js-libp2p need (its npm packages at the pinned versions, our relay, the plain peer's
# wasm), and runs them:
#
#   tests/interop/run.sh meet [ROUNDS [SCENARIO]]    checks, in a debug build
#   tests/interop/run.sh bench [RUNS]                measures, built as what people get

set -eu -o pipefail
cd "$(dirname "$0")"
what=${1:-meet}
count=${2:-}
scenario=${3:-}
target=../../target

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
  # The example, as its README says.
  cargo build -p libp2p-webrtc-browser --example two_tabs --target wasm32-unknown-unknown
  wasm-bindgen --target web --out-dir "$target/two_tabs" "$target/wasm32-unknown-unknown/debug/examples/two_tabs.wasm"
  cargo build -p libp2p-webrtc-browser --example two_tabs_relay
fi

# Playwright is told where Chromium is, and never to look for one of its own.
CHROMIUM=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
export CHROMIUM
exec node "$script" "$target/interop-peer/$folder" ${count:+"$count"} ${scenario:+"$scenario"}
