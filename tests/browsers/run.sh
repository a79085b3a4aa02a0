#!/usr/bin/env bash
# Builds the relay and runs the page in Firefox and WebKitGTK, beside Chromium, and in each of its states in Chromium. Screenshots
# go to target/browsers.

set -eu -o pipefail
cd "$(dirname "$0")"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
# The same features as in the end-to-end tests, so that nothing is built twice.
cargo build --workspace --bin relay --test end_to_end
outcome=0
node run.mjs "$target/debug/relay" "$target/browsers" || outcome=1
node states.mjs "$target/debug/relay" "$target/browsers/states" || outcome=1
exit $outcome
