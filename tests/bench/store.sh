#!/usr/bin/env bash
# The store under load: ours with `durability = os` and `full`, the limits of this machine, and
# another implementation of the protocol if there is one, in turn in one run.
#
#   tests/bench/store.sh                                  make bench-store
#   PEER_BIN=/opt/fdfs/bin PEER_LIB=/opt/fdfs/lib tests/bench/store.sh
#   ROUNDS=5 SECONDS_EACH=4 CASES='upload 4K 16' tests/bench/store.sh
#
# PEER_BIN has fdfs_trackerd and fdfs_storaged that take our tracker.conf and storage.conf;
# PEER_LIB goes to their LD_LIBRARY_PATH. With a peer all of it runs in a network namespace of
# its own with an address that is not loopback, which the peer may refuse; that needs root.
# Stores are on the file system of WORK (default: /dev/shm). Prints a table, appends every run to
# target/bench/history.jsonl, and never fails because something was slow.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

peer=${PEER_BIN:-}
if [ -n "$peer" ] && [ -z "${BENCH_NAMESPACE:-}" ]; then
    # Compile outside: inside there is no network.
    [ -n "${BIN_DIR:-}" ] || cargo build --release --quiet --bins
    exec env BENCH_NAMESPACE=1 unshare --net "$0" "$@"
fi
rounds=${ROUNDS:-3} seconds=${SECONDS_EACH:-2} bin=${BIN_DIR:-target/release}
[ -n "${BENCH_NAMESPACE:-}${BIN_DIR:-}" ] || cargo build --release --quiet --bins
command -v node >/dev/null || { echo "store.sh: node is missing: make deps-test" >&2; exit 1; }

host=127.0.0.1
if [ -n "${BENCH_NAMESPACE:-}" ]; then
    host=10.77.0.1
    ip link set lo up
    ip address add $host/32 dev lo
fi

# Operation, size, connections, and what more: a count where seconds would fill the memory.
cases=${CASES:-"query-store 4K 16
query-store 4K 64
query-fetch 4K 16
upload 4K 1
upload 4K 16
upload 4K 64
upload 64K 16
upload 1M 16 --count 1200
upload 100M 4 --count 12
download 4K 1
download 4K 16
download 4K 64
download 64K 16
download 1M 16
download 100M 4 --files 4
append 4K 16
delete 4K 16
upload 1M 256 --count 1200"}
contestants=(os full)
[ -z "$peer" ] || contestants+=(peer)

dir=$(mktemp -d "${WORK:-/dev/shm}/fastdisk-bench-XXXXXX")
runs=$dir/runs.jsonl
mkdir -p target/bench
declare -A pid_of port_of
finish() {
    local pid
    for pid in "${pid_of[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pid_of[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    done
    rm -rf "$dir"
}
trap finish EXIT

port=${PORT:-21400}
next_port() { # the next port where nobody listens, in $port
    port=$((port + 1))
    while (exec 3<>"/dev/tcp/$host/$port") 2>/dev/null; do port=$((port + 1)); done
}

launch() { # contestant program conf
    local name=$1 program=$2 conf=$3
    if [ "$name" = peer ]; then
        LD_LIBRARY_PATH=${PEER_LIB:-} "$peer/$program" -N "$conf" >>"$dir/$name.log" 2>&1 &
    else
        "$bin/$program" "$conf" start --foreground >>"$dir/$name.log" 2>&1 &
    fi
    pid_of[$name-$program]=$!
}

start() { # contestant
    local name=$1 own=$dir/$1 tracker storage durability=
    next_port && tracker=$port
    next_port && storage=$port
    mkdir -p "$own/tracker" "$own/storage" "$own/store"
    cat >"$own/tracker.conf" <<CONF
bind_addr = $host
port = $tracker
base_path = $own/tracker
reserved_storage_space = 0
max_connections = 2048
CONF
    # Only ours knows durability; the peer syncs nothing, and needs larger stacks than its default.
    [ "$name" = peer ] && durability="thread_stack_size = 512KB" || durability="durability = $name"
    cat >"$own/storage.conf" <<CONF
bind_addr = $host
port = $storage
group_name = group1
base_path = $own/storage
store_path_count = 1
store_path0 = $own/store
tracker_server = $host:$tracker
subdir_count_per_path = 256
max_connections = 2048
heart_beat_interval = 1
stat_report_interval = 1
$durability
CONF
    port_of[$name]=$tracker
    launch "$name" fdfs_trackerd "$own/tracker.conf"
    launch "$name" fdfs_storaged "$own/storage.conf"
}

await() { # contestant: until uploads are taken
    local try
    for try in $(seq 600); do
        if "$bin/fdfs_load" query-store -t "$host:${port_of[$1]}" -n 1 --count 1 \
            >/dev/null 2>&1; then return; fi
        sleep 0.1
    done
    echo "store.sh: $1 takes no uploads after $try tries:" >&2
    tail -20 "$dir/$1.log" >&2
    exit 1
}

one() { # round contestant operation size connections more...
    local round=$1 name=$2 operation=$3 size=$4 connections=$5 out
    shift 5
    local amount=(--duration "$seconds" --warmup 0.5)
    [[ " $* " != *" --count "* ]] || amount=()
    [ "$round" != 1 ] || [ "$name" != os ] || amount+=(--limit --limit-dir "$dir")
    # A failed operation is in the result; only a run that could not be made has none.
    out=$("$bin/fdfs_load" "$operation" -t "$host:${port_of[$name]}" -s "$size" \
        -n "$connections" "${amount[@]}" "$@" --json \
        --pid "tracker=${pid_of[$name-fdfs_trackerd]}" \
        --pid "storage=${pid_of[$name-fdfs_storaged]}" 2>>"$dir/$name.log") || [ -n "$out" ]
    printf '{"case":"%s %s %s","contestant":"%s","round":%d,"commit":"%s","at":%d,"run":%s}\n' \
        "$operation" "$size" "$connections" "$name" "$round" "$commit" "$(date +%s)" "$out" |
        tee -a "$runs" >>target/bench/history.jsonl
    # The next run begins with an empty store: the memory is needed.
    find "$dir/$name/store" -type f -path '*/[0-9A-F][0-9A-F]/*' -delete
}

commit=$(git rev-parse --short HEAD 2>/dev/null || echo unknown)
git diff --quiet HEAD 2>/dev/null || commit=$commit+
for name in "${contestants[@]}"; do start "$name"; done
for name in "${contestants[@]}"; do await "$name"; done
for name in "${contestants[@]}"; do
    awk -v name="$name" '/VmRSS/ { print name, $2 }' \
        "/proc/${pid_of[$name-fdfs_storaged]}/status" >>"$dir/idle"
done
for round in $(seq "$rounds"); do
    while read -r operation size connections more; do
        for name in "${contestants[@]}"; do
            # shellcheck disable=SC2086 # a list of options
            one "$round" "$name" "$operation" "$size" "$connections" $more
        done
    done <<<"$cases"
done
echo "$rounds rounds in turn, $(nproc) cores, stores in ${WORK:-/dev/shm}, commit $commit"
node tests/bench/table.mjs "$runs" "$dir/idle"
