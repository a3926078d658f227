#!/usr/bin/env bash
# Runs the layers of the tests in their order and adds them up: `run.sh all`, or the names of
# some. Called by `make test`, `make check` and `make test-LAYER`; SEED reaches every layer.
#
# A layer is finished before a red one stops the run. Each prints `N passed, N failed,
# N skipped`; the last line of the run is their sum, alone on its line.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
PATH=$PATH:$HOME/.cargo/bin:/usr/sbin:/sbin
logs=$root/target/test-logs
mkdir -p "$logs"

# What is built once and thrown away is half the size without what the next build would reuse.
[ "${CI:-}" != true ] || export CARGO_INCREMENTAL=0

# GB that a cold run needs: what is built, and files of the tests.
room=12

# Every promise of the design, and the layers that test it today.
promises='
P1 acknowledged operations survive kill -9          | system cluster web crash
P2 they survive power loss                          | unit crash sim
P3 one disk or member lost loses nothing            | cluster
P4 wrong bytes are never served                     | unit system module browser
P5 one changed byte is found and repaired           | unit cluster
P6 nothing half written is visible                  | unit system crash
P7 members become equal, byte for byte              | cluster sim
P8 a deleted file never comes back                  | system cluster unit sim
P9 routing is rebuilt after the loss of trackers    | system sim
P10 partitions cause no loss                        | cluster sim
P11 a full disk refuses cleanly and recovers        | unit crash
P12 a slow part does not slow the others            | cluster load
P13 clocks may be wrong                             | cluster sim
P14 memory is bounded with 10,000 slow connections  | load
P15 no bytes crash a process                        | unit module fuzz
P16 the drive shows each file with its right bytes  | web browser'

layers_all=(lint unit system crash sim fuzz load cluster clients module web browser)
# Run by name only: `web` runs a sample of `kill`.
layers_more=(kill)
passed=0 failed=0 skipped=0
ran=()

have() {
    command -v "$1" >/dev/null 2>&1
}

# One named check of the lint layer.
check() {
    local name=$1
    shift
    if "$@"; then
        echo "ok    $name"
        lint_passed=$((lint_passed + 1))
    else
        echo "WRONG $name: $*"
        lint_failed=$((lint_failed + 1))
    fi
}

lint() {
    local lint_passed=0 lint_failed=0 lint_skipped=0 scripts
    mapfile -t scripts < <(git ls-files '*.sh' .ci/run)
    check format cargo fmt --all --check
    check lints cargo clippy --quiet --all-targets -- -D warnings
    check "lints of the module" nginx/module/build.sh cargo clippy --quiet \
        -p ngx_fastdfs_module -- -D warnings
    check documentation env RUSTDOCFLAGS="-D warnings" cargo doc --quiet --no-deps
    if have shellcheck; then
        check "shell scripts" shellcheck -x "${scripts[@]}"
    else
        echo "skip  shell scripts: \`make deps-test\` installs shellcheck"
        lint_skipped=1
    fi
    check "house rules" cargo test --quiet --test tidy
    echo "$lint_passed passed, $lint_failed failed, $lint_skipped skipped"
    [ $lint_failed = 0 ]
}

unit() {
    cargo test --lib --bins --test harness "$@"
    [ ! -f tests/protocol.rs ] || cargo test --test protocol
}

# Every black-box target that has no layer of its own: the store with real daemons and tools.
system() {
    local target targets=()
    for target in tests/*.rs tests/*/main.rs; do
        target=${target#tests/}
        target=${target%/main.rs}
        case ${target%.rs} in
        tidy | harness | protocol | cluster | clients | module | web | load) ;;
        *) targets+=(--test "${target%.rs}") ;;
        esac
    done
    cargo test "${targets[@]}" -- --test-threads=4
}

# Groups of real storages that die, stop and come back; each test is a group of its own.
cluster() {
    cargo test --test cluster -- --test-threads=3 --nocapture
}

# Slow and many connections against the daemons, one test at a time.
load() {
    cargo test --test load -- --test-threads=1 --nocapture
}

# Client libraries that others wrote, from their registries, against our daemons.
clients() {
    cargo test --test clients
}

# Corpora, regressions, and some seconds of fresh inputs for each target.
fuzz() {
    tests/fuzz/run.sh ci "${TIME:-5}"
}

# Both at once: each alone would take the daemons with another set of features, and build them anew.
build_with_faults() {
    cargo build --quiet -p crash -p sim
}

# Daemons that die, fail and lose power at every effect on the disk. Their binary has what no
# release has: that the programs without it have nothing of it is looked at here, too.
crash() {
    build_with_faults
    cargo build --quiet --bin fdfs_storaged --bin fdfs_trackerd
    target/debug/crash
}

# Whole groups in one thread, under faults that a seed says: TIME seconds or N seeds of it; SEED
# alone is one seed again, with its trace if TRACE=1, SCRIPT one sequence of faults by its name.
# Where nothing is said the same seeds run each time, and all scripts: a change of the code can make
# one fail, another commit cannot.
sim() {
    build_with_faults
    if [ -z "${SEED:-}${N:-}${TIME:-}" ]; then
        export SEED=0x5eed2 N=150
    fi
    target/debug/sim
}

build_module() {
    nginx/module/build.sh debug
}

module() {
    build_module
    nginx/module/build.sh cargo test -p ngx_fastdfs_module
    cargo test --test module
}

web() {
    build_module
    cargo build --bins
    cargo test --test web
}

# Every point of the kill matrix, of which `web` runs a sample.
kill() {
    build_module
    KILL=all cargo test --test web kill:: -- --test-threads=1
}

browser() {
    build_module
    cargo build --bins
    BIN_DIR=$root/target/debug tests/browser/run.sh
}

bench() {
    local script
    for script in tests/bench/*.sh; do
        "$script"
    done
}

exists() {
    case $1 in
    lint | unit) true ;;
    browser) [ -f tests/browser/run.sh ] ;;
    fuzz) [ -f tests/fuzz/run.sh ] ;;
    crash) [ -f tests/crash/harness.rs ] ;;
    kill) [ -f tests/web/kill.rs ] ;;
    sim) [ -f tests/sim/harness.rs ] ;;
    *) [ -f "tests/$1.rs" ] || [ -f "tests/$1/main.rs" ] ;;
    esac
}

# Sums what a layer printed: cargo's results and the lines of other harnesses.
sum() {
    awk '
        /^test result:/ {
            for (i = 2; i <= NF; i++) {
                if ($i ~ /^passed/) p += $(i - 1)
                if ($i ~ /^failed/) f += $(i - 1)
                if ($i ~ /^ignored/) s += $(i - 1)
            }
        }
        /^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { p += $1; f += $3; s += $5 }
        END { print p + 0, f + 0, s + 0 }' "$1"
}

run_layer() {
    local name=$1 log=$logs/$1.log status=0 p f s begun=$SECONDS
    if ! exists "$name"; then
        echo "== $name: not there yet"
        return 0
    fi
    echo "== $name"
    # A subshell of its own, so that errexit holds in it although its status is looked at.
    set +e
    (set -e; "$name") 2>&1 </dev/null | tee "$log"
    status=${PIPESTATUS[0]}
    set -e
    read -r p f s < <(sum "$log")
    # A layer that fails without saying how many, such as a build error, counts as one.
    [ "$status" = 0 ] || [ "$f" != 0 ] || f=1
    # A skip is a promise not tested; where everything can be installed it is a failure.
    if [ "${CI:-}" = true ] && [ "$s" != 0 ]; then
        echo "== $name: skipped tests count as failed with CI=true"
        f=$((f + s)) s=0
    fi
    passed=$((passed + p)) failed=$((failed + f)) skipped=$((skipped + s))
    ran+=("$name")
    echo "== $name: $p passed, $f failed, $s skipped in $((SECONDS - begun)) s"
}

# The promises that no layer of this run tests.
unproven() {
    local promise layers layer proven
    while IFS='|' read -r promise layers; do
        [ -n "$promise" ] || continue
        proven=
        for layer in $layers; do
            [[ " ${ran[*]} " == *" $layer "* ]] && proven=yes
        done
        [ -n "$proven" ] || echo "unproven: ${promise%"${promise##*[! ]}"}"
    done <<<"$promises"
}

[ $# -gt 0 ] || { echo "usage: run.sh all | LAYER..." >&2; exit 2; }
if [ "$*" = bench ]; then
    bench
    exit
fi
layers=("$@")
if [ "$*" = all ]; then
    layers=("${layers_all[@]}")
    # Where it is less the tests that come last fail one by one, each with another error.
    free=$(df --output=avail -BG . | tail -n 1 | tr -dc 0-9)
    echo "$free GB free for $root"
    [ "$free" -ge $room ] || echo "a cold run needs $room GB: make room if it runs out"
fi
for layer in "${layers[@]}"; do
    [[ " ${layers_all[*]} ${layers_more[*]} " == *" $layer "* ]] ||
        { echo "no layer $layer" >&2; exit 2; }
    run_layer "$layer"
    [ $failed = 0 ] || break
done
[ "$*" != all ] || unproven
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ]
