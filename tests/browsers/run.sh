#!/usr/bin/env bash
# Builds the relay and
#
#   tests/browsers/run.sh                              runs the page in Firefox and WebKitGTK, beside Chromium, and in each of its
#                                                      states in Chromium; screenshots go to target/browsers
#   tests/browsers/run.sh start [ROUNDS [DELAY [NAME=RELAY...]]]
#                                                      measures the page's start; relays of other builds take turns with this one

set -eu -o pipefail
cd "$(dirname "$0")"
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')
what=${1:-test}
case $what in
  test | start) ;;
  *)
    sed -n 's/^# \?//p' "$0" >&2
    exit 2
    ;;
esac

if [ ! node_modules/.package-lock.json -nt package-lock.json ]; then
  npm ci --no-audit --no-fund
fi
# The same features as in the end-to-end tests, so that nothing is built twice.
cargo build --workspace --bin relay --test end_to_end

if [ "$what" = start ]; then
  exec node page_start.mjs "${2:-10}" "${3:-0}" "this=$target/debug/relay" "${@:4}"
fi
outcome=0
node run.mjs "$target/debug/relay" "$target/browsers" || outcome=1
node states.mjs "$target/debug/relay" "$target/browsers/states" || outcome=1
# Briefly, so that the measuring code stays tested.
node page_start.mjs 1 20 "this=$target/debug/relay" || outcome=1
exit $outcome
