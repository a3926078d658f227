#!/usr/bin/env bash
# Fuzzing on the stable toolchain: `run.sh build`, `run.sh ci [SECONDS]`, `run.sh TARGET [ARGS]`,
# `run.sh minimise TARGET DIR...`.
#
# libFuzzer is driven directly: the flags are those of `cargo fuzz -s none`, which then need not
# be built first. CI replays the corpora and the regressions and gives each target some runs of
# a fixed seed, in a few seconds: a change of the code can make it fail, another hour cannot.
# New inputs are looked for with SEED=, RUNS= and SECONDS, or a TARGET.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"
PATH=$PATH:$HOME/.cargo/bin
target=${CARGO_TARGET_DIR:-../../target/fuzz}
triple=$(rustc -vV | sed -n 's/^host: //p')
bin=$target/$triple/release
limits=(-rss_limit_mb=512 -malloc_limit_mb=64 -timeout=25 -max_len=4096)

build() {
    RUSTFLAGS='--cfg fuzzing -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
        -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares' \
        cargo build --quiet --release --bins --target "$triple" --target-dir "$target"
}

say() {
    echo "fuzz: $*"
}

names() {
    local source
    for source in targets/*.rs; do
        basename "$source" .rs
    done
}

# One target with its corpus; a finding is written into target/fuzz/found, new inputs that cover
# more into $grown.
grown=$target/corpus
fuzz() {
    local name=$1
    shift
    mkdir -p "$target/found/$name" "$grown/$name"
    "$bin/$name" "${limits[@]}" "-artifact_prefix=$target/found/$name/" "$@" \
        "$grown/$name" "corpus/$name"
}

# Replays corpora and regressions, then gives each target some seconds; two at a time.
ci() {
    local seconds=${1:-6} seed=${SEED:-1} runs=${RUNS:-20000}
    local name log passed=0 failed=0 begun=$SECONDS
    seed=$((seed % 2147483647))
    say "SEED=$seed, built in $SECONDS s"
    mkdir -p "$target/log"
    # Not into what earlier runs here have found: that is more than a clean checkout tries.
    grown=$(mktemp -d)
    export bin target seconds seed runs grown
    export -f fuzz one
    # shellcheck disable=SC2016 # the words are those of the inner shell
    names | xargs -P 2 -n 1 bash -c 'limits=('"${limits[*]}"'); one "$1" || true' one
    for name in $(names); do
        log=$target/log/$name
        if grep -q '^ok$' "$log"; then
            passed=$((passed + 1))
            say "$name: $(figures "$log")"
        else
            failed=$((failed + 1))
            say "$name FAILED: SEED=$seed"
            tail -n 40 "$log"
        fi
    done
    rm -rf "$grown"
    say "$((SECONDS - begun)) s for all targets"
    echo "$passed passed, $failed failed, 0 skipped"
    [ $failed = 0 ]
}

one() {
    local name=$1 log=$target/log/$1
    if { [ ! -d "regress/$name" ] || "$bin/$name" "${limits[@]}" "regress/$name"/*; } \
        >"$log" 2>&1 && fuzz "$name" "-max_total_time=$seconds" "-runs=$runs" "-seed=$seed" \
        -print_final_stats=1 -verbosity=1 >>"$log" 2>&1; then
        echo ok >>"$log"
    fi
}

# Executions, executions per second, and edges covered.
figures() {
    awk '/number_of_executed_units/ { n = $2 } /average_exec_per_sec/ { s = $2 }
        / cov: / { for (i = 1; i < NF; i++) if ($i == "cov:") c = $(i + 1) }
        END { print n " runs, " s " a second, " c " edges" }' "$1"
}

# Keeps of some directories of inputs what covers something of its own.
minimise() {
    local name=$1 small
    shift
    small=$(mktemp -d)
    "$bin/$name" "${limits[@]}" -merge=1 "$small" "corpus/$name" "$@"
    rm -rf "corpus/$name"
    mv "$small" "corpus/$name"
    say "$name: $(find "corpus/$name" -type f | wc -l) files"
}

case ${1:-} in
build) build ;;
ci | minimise)
    build
    "$@"
    ;;
'' | -*)
    echo "usage: run.sh build | ci [SECONDS] | minimise TARGET DIR... | TARGET [ARGS]" >&2
    exit 2
    ;;
*)
    build
    fuzz "$@"
    ;;
esac
