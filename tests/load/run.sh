#!/usr/bin/env bash
# Measures the release relay with a school class, with 2,000 tabs, under attack and after a crash, keepers, and js-libp2p's relay
# beside it where Node is installed. Prints figures and the load of the computer; fails only if something cannot run.
#
#   tests/load/run.sh [TABS]          all of it
#   tests/load/run.sh TABS beside     this relay and js-libp2p's alone, in turns

set -eu -o pipefail
cd "$(dirname "$0")/../.."

readonly tabs=${1:-2000} part=${2:-all}

cargo build --release -p relay -p keeper -p load --features relay/jemalloc
# Cargo's own answer: CARGO_TARGET_DIR or a configuration file may name another folder.
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
readonly load=$target/release/load relay=$target/release/relay
readonly class=(arrivals --tabs 30 --rate 1000 --from 127.0.1.1 --stay 1 --after 1)

# The same tabs at this relay and at js-libp2p's.
beside() {
  if ! command -v npm >/dev/null; then
    echo "== js-libp2p's relay: skipped, because npm is not installed"
    return
  fi
  (cd tests/interop && npm ci --silent --no-audit --no-fund)
  local -r many=(arrivals --tabs "$tabs")
  echo "== this relay, 30 tabs of one address at once"
  "$load" --relay "$relay" "${class[@]}"
  echo "== js-libp2p's relay, 30 tabs of one address at once"
  "$load" --relay tests/interop/js-relay.mjs --js "${class[@]}"
  echo "== this relay, $tabs tabs, 100 arrivals a second"
  "$load" --relay "$relay" "${many[@]}"
  echo "== js-libp2p's relay, $tabs tabs, 100 arrivals a second"
  "$load" --relay tests/interop/js-relay.mjs --js "${many[@]}"
}

if [ "$part" = beside ]; then
  beside
  exit
fi

echo "== this relay, 30 tabs of one address at once"
"$load" --relay "$relay" "${class[@]}"
if PATH=$PATH:/usr/sbin command -v nginx >/dev/null; then
  echo "== the same through nginx and TLS"
  "$load" --relay "$relay" "${class[@]}" --nginx
else
  echo "== the same through nginx and TLS: skipped, because nginx is not installed"
fi
for transport in websocket webrtc; do
  echo "== this relay, $tabs tabs by $transport, 100 arrivals a second"
  "$load" --relay "$relay" arrivals --tabs "$tabs" --transport "$transport"
done
echo "== this relay under attack"
"$load" --relay "$relay" attacks
echo "== this relay, killed with 500 tabs and started again"
"$load" --relay "$relay" restart

echo "== keepers with 1,000,000 readings, and with 100 rooms"
"$load" --relay "$relay" keepers --keeper "$target/release/keeper"

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

beside
