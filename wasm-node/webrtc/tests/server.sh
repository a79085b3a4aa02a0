#!/bin/sh
# Runs tests/server.rs against two stock rust-libp2p servers, which this script starts and stops.
# Requires the wasm32 target, chromedriver and wasm-bindgen-test-runner, like the other browser tests.
set -eu
cd "$(dirname "$0")/.."

cargo build --quiet --example echo_server
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
addresses=$(mktemp -d)
trap 'kill $echo_server $mortal_server 2>/dev/null || true; rm -r "$addresses"' EXIT

# The first one listens on IPv6, because the browser resolves "localhost" to IPv6.
"$target/debug/examples/echo_server" /ip6/::1/udp/0/webrtc-direct >"$addresses/echo" & echo_server=$!
"$target/debug/examples/echo_server" /ip4/127.0.0.1/udp/0/webrtc-direct >"$addresses/mortal" & mortal_server=$!
while [ ! -s "$addresses/echo" ] || [ ! -s "$addresses/mortal" ]; do
    kill -0 $echo_server && kill -0 $mortal_server
    sleep 0.1
done

WEBRTC_ECHO_SERVER=$(cat "$addresses/echo") WEBRTC_MORTAL_SERVER=$(cat "$addresses/mortal") \
    WASM_BINDGEN_TEST_TIMEOUT=120 CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner \
    cargo test --target wasm32-unknown-unknown --features test-server --test server
