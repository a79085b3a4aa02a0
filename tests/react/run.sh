#!/usr/bin/env bash
# Builds the relay and runs the peer in a React app with StrictMode, which Vite serves, in Chromium.

set -eu -o pipefail
cd "$(dirname "$0")"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

for folder in . ../browsers; do
  if [ ! "$folder/node_modules/.package-lock.json" -nt "$folder/package-lock.json" ]; then
    npm ci --prefix "$folder" --no-audit --no-fund
  fi
done
# The same features as in the end-to-end tests, so that nothing is built twice.
cargo build --workspace --bin relay --test end_to_end
exec node run.mjs "$target/debug/relay"
