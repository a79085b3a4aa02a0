#!/usr/bin/env bash
# Floods a server from forged addresses, in a network namespace that swallows all answers to them. Needs root.
#
#   tests/load/webrtc/forged.sh malformed|requests|hellos [DATAGRAMS]

set -eu -o pipefail
cd "$(dirname "$0")"
cargo build --quiet --release
target=$(cargo metadata --format-version 1 --no-deps | sed 's/.*"target_directory":"\([^"]*\)".*/\1/')

readonly space=webrtc-figures-$$
trap 'ip netns delete "$space"' EXIT
ip netns add "$space"
ip -n "$space" link set lo up
ip -n "$space" link add away type veth peer name sink
ip -n "$space" addr add 192.0.2.1/24 dev away
ip -n "$space" link set away up
ip -n "$space" link set sink up
# Answers go to a card that does not exist.
ip -n "$space" neigh add 192.0.2.2 lladdr 02:00:00:00:00:01 dev away nud permanent
ip -n "$space" route add default via 192.0.2.2
ip netns exec "$space" "$target/release/webrtc-figures" forged 192.0.2.1 "$@"
