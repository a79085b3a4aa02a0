#!/usr/bin/env bash
# Measures the release relay with 2,000 tabs and under attack, and js-libp2p's relay beside it where Node is installed.
# Prints figures and the load of the computer; fails only if something cannot run.

set -eu -o pipefail
cd "$(dirname "$0")/../.."

readonly tabs=${1:-2000}

cargo build --release -p relay -p load
readonly load=target/release/load

echo "== this relay, $tabs tabs, 100 arrivals a second"
"$load" --relay target/release/relay arrivals --tabs "$tabs"
echo "== this relay under attack"
"$load" --relay target/release/relay attacks

echo "== WebRTC-direct, and libp2p-webrtc beside it"
(
  cd tests/load/webrtc
  cargo build --release
  for figures in throughput lossy idle failed churn "flood malformed" "flood requests" "flood hellos"; do
    # shellcheck disable=SC2086
    cargo run --quiet --release -- $figures
  done
  # Without root there are no network namespaces.
  if [ "$(id -u)" = 0 ]; then
    for flood in malformed requests hellos; do ./forged.sh $flood; done
  fi
)

if command -v npm >/dev/null; then
  (cd tests/interop && npm ci --silent --no-audit --no-fund)
  echo "== js-libp2p's relay, $tabs tabs, 100 arrivals a second"
  "$load" --relay tests/interop/js-relay.mjs --js arrivals --tabs "$tabs"
else
  echo "== js-libp2p's relay: skipped, because npm is not installed"
fi
