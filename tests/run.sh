#!/usr/bin/env bash
# Runs the tests, installs missing tools, and prints at the end which parts failed. Continues after a failure, and never
# replaces installed tools.

set -u -o pipefail
cd "$(dirname "$0")/.." || exit 1

usage() {
  cat <<'HELP'
tests/run.sh [part | quick | all]...

Without an argument it runs the parts that every change must pass:
  format        rustfmt, and tests/words.sh for the wording of code and documents
  lint          clippy, natively and for wasm32, warnings denied
  purity        builds chain and sync for a target without an operating system
  unit          all native tests that need no browser, a short simulation, and the fuzz corpus
  docs          rustdoc, warnings denied
  www           tests of the page's plain modules, if Node is installed
  export_verifier  the Python verifier of exports against the golden vectors
  browser       wasm-pack test --headless --chrome
  end_to_end    real Chromium, the real relay, the real page; a failed test is retried once, alone, and listed at the end
  interop       interoperability with js-libp2p in real pages, if Node is installed: 3 rounds per scenario, 50 if
                requested by name or by `all`
  relay         the relay behind nginx and caddy, and with an ACME authority; each is skipped where it is not installed
  namespaces    end-to-end tests across two networks, and floods from forged addresses; skipped where network namespaces
                are not available
  browsers      the page in Firefox and WebKitGTK beside Chromium, in each of its states in Chromium, and the peer in a React
                app; a browser that is not installed is skipped
  accessibility axe-core inspects the page in all its states, if npm is installed

quick           format, the page's tests, and clippy and tests of the crates with changes since the main branch, without
                browsers
all             the parts above and the long ones:
  fuzz          libFuzzer on each decoder, imports and the machine, a minute each
  simulation    10,000 seeds, and a room of 1,000 peers
  soak          10,000 streams and 500 connections of two tabs, to find leaks; and a browser killed 50 times with one
                profile, which must lose no confirmed reading
  bench         the figures of docs/benchmarks.md
  load          a release relay with 2,000 tabs and under attack, keepers, and js-libp2p's beside it
HELP
}

# Names of failed parts, and one summary line per part.
failed=()
summary=()
# Time limit of one part: a part that hangs must not hide the results of the others.
readonly PART_LIMIT=40m

# With a terminal, Ctrl-C must reach the tests; without one, the time limit must also end their child processes.
attached=()
[ -t 1 ] && attached=(--foreground)

# limited COMMAND...: runs a command with the time limit. Functions of this script run without it, because timeout only
# runs programs; so does everything on systems without timeout.
limited() {
  if [ "$(type -t "$1")" = function ] || ! command -v timeout >/dev/null; then
    "$@"
  else
    timeout ${attached[@]+"${attached[@]}"} "$PART_LIMIT" "$@"
  fi
}

# part NAME COMMAND...: runs one part, and records its duration and outcome.
part() {
  local name=$1 start=$SECONDS outcome=ok
  shift
  echo
  echo "== $name: $*"
  if ! limited "$@" </dev/null; then
    outcome=FAILED
    failed+=("$name")
  fi
  summary+=("$(printf '%-28s %6d s  %s' "$name" $((SECONDS - start)) "$outcome")")
  echo "== $name: $((SECONDS - start)) s, $outcome"
}

# Environment for parts that do not need the page: skips the wasm build.
readonly without_wasm=(env HEARTCHAIN_SKIP_WASM=1)

version_of_locked() {
  # version_of_locked NAME: the version of a crate in the lock file.
  sed -n "/^name = \"$1\"\$/{n;s/^version = \"\(.*\)\"\$/\1/p;q}" Cargo.lock
}

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo -n "$@"; fi
}

install_toolchain() {
  rustup show active-toolchain >/dev/null 2>&1 || rustup toolchain install
  local wanted present
  present=$(rustup target list --installed)
  for wanted in wasm32-unknown-unknown wasm32v1-none; do
    grep -qx "$wanted" <<<"$present" || rustup target add "$wanted"
  done
  present=$(rustup component list --installed)
  for wanted in clippy rustfmt; do
    grep -q "^$wanted" <<<"$present" || rustup component add "$wanted"
  done
}

install_chromium() {
  if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then return; fi
  if ! command -v apt-get >/dev/null; then
    echo "Please install Chromium and its chromedriver, so that both are in PATH." >&2
    return 1
  fi
  as_root apt-get update -q && as_root apt-get install -y -q chromium chromium-driver
}

install_wasm_tools() {
  # wasm-pack would otherwise build its own copy in a private folder.
  local wanted
  wanted=$(version_of_locked wasm-bindgen)
  if [ "$(wasm-bindgen --version 2>/dev/null)" != "wasm-bindgen $wanted" ]; then
    cargo install --locked --version "$wanted" wasm-bindgen-cli
  fi
  if ! command -v wasm-pack >/dev/null; then
    cargo install --locked --version 0.15.1 wasm-pack
  fi
}

install_networks() {
  if command -v ip >/dev/null && command -v nft >/dev/null; then return; fi
  # Without these tools the part `namespaces` is skipped with a message.
  [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  apt-get update -q && apt-get install -y -q iproute2 nftables
}

install_servers() {
  local wanted missing=()
  for wanted in nginx:nginx-light caddy:caddy pebble:pebble certutil:libnss3-tools; do
    PATH=$PATH:/usr/sbin command -v "${wanted%%:*}" >/dev/null || missing+=("${wanted##*:}")
  done
  # Without these programs, the tests that need them are skipped with a message.
  [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 0
  apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}" || return 1
  # The tests start their own; these would only take ports.
  for wanted in nginx caddy; do service "$wanted" stop >/dev/null 2>&1 || true; done
}

install_all() {
  install_toolchain && install_chromium && install_wasm_tools && install_networks && install_servers
}

format() {
  part format cargo fmt --all --check
  part "format (fuzz)" cargo fmt --manifest-path tests/fuzz/libfuzzer/Cargo.toml --check
  part "format (figures of WebRTC)" cargo fmt --manifest-path tests/load/webrtc/Cargo.toml --check
  part "format (interop)" cargo fmt --manifest-path tests/interop/websys/Cargo.toml --check
  part "format (words)" tests/words.sh
}

lint_native() {
  part "lint (native)" "${without_wasm[@]}" cargo clippy --workspace --all-targets -- -D warnings
}

lint() {
  lint_native
  part "lint (wasm32)" cargo clippy --target wasm32-unknown-unknown \
    -p wasm-node -p libp2p-webrtc-browser -p interop-peer -p heartchain --all-targets -- -D warnings
}

purity() {
  part purity cargo build --target wasm32v1-none -p heartchain-chain -p heartchain-sync
}

unit() {
  # Uses the same features and the same relay as the end-to-end tests, so that nothing is built twice.
  part unit cargo test --workspace --no-fail-fast -- --skip in_chromium --skip in_namespaces
}

docs() {
  part "docs (native)" "${without_wasm[@]}" RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
  part "docs (wasm32)" env RUSTDOCFLAGS="-D warnings" cargo doc --no-deps \
    --target wasm32-unknown-unknown -p wasm-node -p libp2p-webrtc-browser
}

www() {
  if command -v node >/dev/null; then
    part www node --test tests/www/*.test.mjs
  else
    echo "== www: skipped, because Node is not installed"
  fi
}

export_verifier() {
  if command -v python3 >/dev/null; then
    part export env PYTHONDONTWRITEBYTECODE=1 python3 tests/verify_export/test_verify.py
  else
    echo "== export: skipped, because Python is not installed"
  fi
}

browser() {
  part browser retry_if_no_test_failed wasm-pack test --headless --chrome
  part "browser (wasm-node)" retry_if_no_test_failed wasm-pack test --headless --chrome wasm-node
  part "browser (webrtc)" retry_if_no_test_failed wasm-pack test --headless --chrome wasm-node/webrtc
  part "browser (native servers)" retry_if_no_test_failed wasm-node/webrtc/tests/server.sh
}

# retry_if_no_test_failed COMMAND...: retries once if the command failed without a failed test. The web server of
# wasm-bindgen's test runner sometimes never delivers one of the page's scripts, and then no test runs.
retry_if_no_test_failed() {
  local output outcome=0 failed_tests=0
  output=$(mktemp)
  limited "$@" 2>&1 | tee "$output" || outcome=1
  grep -q '^test result: FAILED' "$output" && failed_tests=1
  rm -f "$output"
  [ "$outcome" = 1 ] && [ "$failed_tests" = 0 ] || return "$outcome"
  echo "== retrying: the page did not load"
  limited "$@" || return 1
  summary+=("$(printf '%-28s           the page did not load at first' '')")
}

end_to_end() {
  part end_to_end retry_failed_tests cargo test --workspace --test end_to_end -- --skip accessibility::
}

accessibility() {
  if command -v npm >/dev/null; then
    part "accessibility (axe-core)" npm ci --prefix tests/accessibility --no-audit --no-fund
    part accessibility retry_failed_tests cargo test --workspace --test end_to_end -- accessibility::
  else
    echo "== accessibility: skipped, because npm is not installed"
  fi
}

# retry_failed_tests COMMAND...: retries failed tests once, one at a time, because tests with several browsers depend
# on the machine's load. A test that fails again has failed; one that passes is listed, because it may still have a
# race.
retry_failed_tests() {
  local test_output names name
  try "$@" && return
  # The names of failed tests are on separate lines after the last "failures:".
  names=$(tac <<<"$test_output" | sed -n '/^failures:$/q; s/^    \([a-z0-9_:]*\)$/\1/p' | sort -u)
  [ -n "$names" ] || return 1
  echo "== retrying: $names"
  local command=() word
  for word; do
    [ "$word" != -- ] || break
    command+=("$word")
  done
  # shellcheck disable=SC2086 # one word a test
  limited "${command[@]}" -- --exact --test-threads 1 $names || return 1
  for name in $names; do
    note_flaky "$name"
  done
}

# try COMMAND...: prints the output of a command, and keeps it in $test_output.
try() {
  local output outcome=0
  output=$(mktemp)
  limited "$@" 2>&1 | tee "$output" || outcome=1
  test_output=$(<"$output")
  rm -f "$output"
  return "$outcome"
}

note_flaky() {
  summary+=("$(printf '%-28s           failed at first: %s' '' "$1")")
}

# Rounds of each interop scenario.
interop_rounds=3

interop() {
  if node_is_recent; then
    part "interop (js-libp2p)" retry_failed_scenarios
  else
    echo "== interop: skipped, because Node 20 or later is not installed"
  fi
}

# Retries a failed scenario once, as for other tests with several browsers.
retry_failed_scenarios() {
  local test_output scenarios scenario
  try tests/interop/run.sh meet "$interop_rounds" && return
  scenarios=$(sed -n 's/^FAILED  \([A-Za-z]*\):.*/\1/p' <<<"$test_output")
  [ -n "$scenarios" ] || return 1
  for scenario in $scenarios; do
    echo "== retrying: $scenario"
    limited tests/interop/run.sh meet "$interop_rounds" "$scenario" || return 1
    note_flaky "$scenario"
  done
}

node_is_recent() {
  command -v node >/dev/null && [ "$(node -p 'parseInt(process.versions.node)')" -ge 20 ]
}

# The tests of this part also run with `unit`, and are skipped there where a server is not installed.
relay() {
  part relay "${without_wasm[@]}" cargo test --workspace --test proxies --test acme --test https --test one_port
}

namespaces() {
  local reason
  if ! reason=$(networks_are_available 2>&1); then
    echo "== namespaces: skipped: $reason"
    summary+=("$(printf '%-28s           skipped: %s' namespaces "$reason")")
    return
  fi
  part namespaces retry_failed_tests cargo test --workspace --test namespaces --test forged
}

# Whether namespaces with a firewall can be created; prints what is missing if not.
networks_are_available() {
  local name=heartchain-$$-probe
  [ "$(id -u)" = 0 ] || { echo "network namespaces need root"; return 1; }
  ip netns add "$name" || return 1
  ip -n "$name" link add here type veth peer name there && ip netns exec "$name" nft add table inet probe
  local outcome=$?
  ip netns delete "$name"
  return $outcome
}

soak() {
  part "soak (streams, connections)" env WEBRTC_SOAK=1 WASM_BINDGEN_TEST_TIMEOUT=1800 \
    wasm-pack test --headless --chrome wasm-node/webrtc --test growth
  part "soak (a keeper killed 50 times)" env HEARTCHAIN_KILLS=50 \
    cargo test -p keeper --test process -- --nocapture killed
  part "soak (a room without tabs for ten minutes)" env HEARTCHAIN_ABSENCE=600 \
    cargo test --workspace --test end_to_end -- --nocapture keeper_keeps_the_room
  part "soak (a browser killed 50 times)" env HEARTCHAIN_SOAK=50 \
    cargo test --workspace --test end_to_end -- --nocapture killed
}

simulation() {
  part "simulation (10,000 seeds)" env HEARTCHAIN_SIMULATION=10000 \
    cargo test --workspace --test simulation
}

install_browsers() {
  # A browser that cannot be installed is skipped with a message.
  command -v apt-get >/dev/null || return 0
  command -v firefox-esr >/dev/null || command -v firefox >/dev/null || as_root apt-get install -y -q firefox-esr || true
  command -v WebKitWebDriver >/dev/null && command -v Xvfb >/dev/null ||
    as_root apt-get install -y -q --no-install-recommends webkit2gtk-driver xvfb xauth || true
}

browsers() {
  if node_is_recent && command -v npm >/dev/null; then
    part "browsers (Firefox, WebKitGTK)" tests/browsers/run.sh
    part "browsers (React, Vite)" tests/react/run.sh
  else
    echo "== browsers: skipped, because Node 20 or later is not installed"
  fi
}

# Seconds per fuzz target.
fuzz_seconds=60

# fuzz_targets SECONDS: runs all targets without a sanitizer, because there is no unsafe code; so the pinned toolchain
# suffices.
fuzz_targets() {
  local target found outcome=0
  cargo fuzz build --fuzz-dir tests/fuzz/libfuzzer --sanitizer none || return 1
  for target in $(cargo fuzz list --fuzz-dir tests/fuzz/libfuzzer); do
    # New inputs go to this folder; the corpus in the repository is only read.
    found=target/fuzz-found/$target
    mkdir -p "$found"
    cargo fuzz run --fuzz-dir tests/fuzz/libfuzzer --sanitizer none "$target" "$found" "tests/fuzz/corpus/$target" -- \
      -max_total_time="$1" -timeout=120 -rss_limit_mb=2048 >"$found.log" 2>&1 || {
      outcome=1
      tail -n 60 "$found.log"
    }
    echo "$target: $(grep '^Done' "$found.log" || echo FAILED)"
  done
  return $outcome
}

fuzz() {
  part "fuzz ($fuzz_seconds s each)" fuzz_targets "$fuzz_seconds"
}

install_fuzz() {
  install_toolchain || return 1
  cargo fuzz --version >/dev/null 2>&1 || cargo install --locked --version 0.13.2 cargo-fuzz
}

bench() {
  part "bench (rules and machine)" env HEARTCHAIN_BENCH_LONG=1 cargo bench -p heartchain-sync --bench machine
  part "bench (rules, in Chromium)" env \
    CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER=wasm-bindgen-test-runner CHROMEDRIVER="$(command -v chromedriver)" \
    cargo test -p heartchain-sync --release --target wasm32-unknown-unknown --test bench_in_browser -- --nocapture
  part "bench (a long chain)" env HEARTCHAIN_BENCH=1 HEARTCHAIN_BENCH_LONG=1 \
    cargo test --workspace --test end_to_end -- --nocapture long_chain
  # HEARTCHAIN_RELAY names the relay of another build, to compare two in turns.
  part "bench (typing meanwhile)" env HEARTCHAIN_BENCH=1 \
    cargo test --workspace --test end_to_end -- --nocapture typing_works
  part "bench (20 tabs on one computer)" env HEARTCHAIN_BENCH=1 \
    cargo test --workspace --test end_to_end -- --nocapture many_tabs
  part "bench (the page)" env HEARTCHAIN_BENCH=20 \
    cargo test --workspace --test end_to_end -- --nocapture figures long_busy_chain
  part "bench (a slow phone)" env HEARTCHAIN_BENCH=5 cargo test --workspace --test end_to_end -- --nocapture phone
  if node_is_recent; then
    part "bench (page start)" tests/browsers/run.sh start 20
    part "bench (page start, 50 ms of round trip)" tests/browsers/run.sh start 20 50
    part "bench (beside js-libp2p)" tests/interop/run.sh bench
  else
    echo "== bench (page start, and beside js-libp2p): skipped, because Node 20 or later is not installed"
  fi
}

# Folders of the crates with changes that are not in the main branch, including uncommitted ones. Without git, all.
changed_crates() {
  local base file folder
  base=$(git merge-base HEAD origin/main 2>/dev/null || git merge-base HEAD main 2>/dev/null || git rev-parse HEAD 2>/dev/null) || {
    find . -name Cargo.toml -not -path '*/target/*' -not -path '*/node_modules/*' -printf '%h\n'
    return
  }
  { git diff --name-only "$base"; git ls-files --others --exclude-standard; } | while read -r file; do
    folder=$(dirname "$file")
    while [ ! -f "$folder/Cargo.toml" ] && [ "$folder" != . ]; do folder=$(dirname "$folder"); done
    # The root's package has only tests and benches; other files there, such as documents, belong to no crate.
    case $folder:$file in
      .:*.rs | .:Cargo.*) echo . ;;
      .:*) ;;
      *) echo "$folder" ;;
    esac
  done | sort -u
}

# name_of FOLDER: the name of the crate in a folder.
name_of() {
  sed -n '/^\[package\]$/,/^\[/s/^name = "\(.*\)"$/\1/p' "$1/Cargo.toml"
}

# What changed, in the profile and with the features that `cargo test -p` uses.
quick_crates() {
  local folder name native=() tested=() browser=()
  for folder in $(changed_crates); do
    name=$(name_of "$folder")
    case $folder in
      # Workspaces of their own.
      tests/fuzz/libfuzzer | tests/interop/websys | tests/load/webrtc) continue ;;
      . | tests/interop/peer) ;;
      *) tested+=(-p "$name") ;;
    esac
    case $folder in wasm-node | wasm-node/webrtc | tests/interop/peer) browser+=(-p "$name") ;; esac
    native+=(-p "$name")
  done
  if [ ${#native[@]} = 0 ]; then
    echo "== crates: none has changed"
    return
  fi
  part "lint (changed)" "${without_wasm[@]}" cargo clippy "${native[@]}" --all-targets -- -D warnings
  if [ ${#browser[@]} -gt 0 ]; then
    part "lint (changed, wasm32)" cargo clippy --target wasm32-unknown-unknown "${browser[@]}" --all-targets -- -D warnings
  fi
  if [ ${#tested[@]} -gt 0 ]; then
    part "unit (changed)" "${without_wasm[@]}" cargo test "${tested[@]}"
  fi
}

load() {
  part load tests/load/run.sh
}

every_change() {
  format
  lint
  purity
  docs
  www
  export_verifier
  unit
  browser
  end_to_end
  interop
  namespaces
  browsers
  accessibility
}

install_for() {
  case $1 in
    quick | format | lint | purity | unit | docs | www | export_verifier | simulation) install_toolchain ;;
    relay) install_toolchain && install_servers ;;
    fuzz) install_fuzz ;;
    all) install_all && install_browsers && install_fuzz ;;
    browsers | every_change) install_all && install_browsers ;;
    *) install_all ;;
  esac
}

run() {
  case $1 in
    every_change | format | lint | purity | unit | docs | www | export_verifier | browser | end_to_end | accessibility | relay | namespaces | browsers | simulation | soak | fuzz | bench | load) "$1" ;;
    interop)
      interop_rounds=50
      interop
      ;;
    quick)
      format
      www
      quick_crates
      ;;
    all)
      interop_rounds=50
      every_change
      fuzz
      simulation
      soak
      bench
      load
      ;;
    *)
      usage >&2
      exit 2
      ;;
  esac
}

[ $# -gt 0 ] || set -- every_change
case $1 in -h | --help | help) usage; exit ;; esac
for wanted in "$@"; do
  part "tools ($wanted)" install_for "$wanted"
  run "$wanted"
done

echo
printf '%s\n' "${summary[@]}"
echo
if [ ${#failed[@]} -gt 0 ]; then
  echo "FAILED: ${failed[*]} (after $SECONDS s)"
  exit 1
fi
echo "All passed in $SECONDS s."
