#!/usr/bin/env bash
# A store of many daemons on this machine, to look at and to break: two trackers, three storages
# in group1, two in group2, each in a directory of its own and with an address of its own.
#
#   conf/cluster.sh DIR BIN_DIR start|stop|status|kill NAME|revive NAME|clean
#
# Called by `make cluster` and `make cluster-stop`. Writes the configurations at the first start
# and keeps them afterwards, so that they may be edited; starts what does not run. Touches nothing
# outside DIR, and is no way to keep files: the members share one disk.
set -euo pipefail

[ $# -ge 3 ] || { sed -n '5s/^# *//p' "${BASH_SOURCE[0]}" >&2; exit 2; }
mkdir -p "$1"
dir=$(realpath "$1")
bin=$(realpath "$2")
action=$3 name=${4:-}

# Ports may be moved at the first start: FIRST_PORT, and the two behind it.
first_port=${FIRST_PORT:-22122}
[ ! -e "$dir/tracker1/conf" ] || first_port=$(sed -n 's/^port = //p' "$dir/tracker1/conf")
trackers=(tracker1 tracker2)
storages=(group1-a group1-b group1-c group2-a group2-b)

die() {
    echo "cluster: $*" >&2
    exit 1
}

# Its own address in 127.0.0.0/8: members of a group need different ones, and one port.
address() {
    case $1 in
    tracker1) echo 127.0.1.1 ;;
    tracker2) echo 127.0.1.2 ;;
    group1-a) echo 127.0.2.1 ;;
    group1-b) echo 127.0.2.2 ;;
    group1-c) echo 127.0.2.3 ;;
    group2-a) echo 127.0.3.1 ;;
    group2-b) echo 127.0.3.2 ;;
    *) die "$1 is none of: ${trackers[*]} ${storages[*]}" ;;
    esac
}

program() {
    case $1 in
    tracker*) echo fdfs_trackerd ;;
    *) echo fdfs_storaged ;;
    esac
}

# Lines that name both trackers.
tracker_lines() {
    local tracker
    for tracker in "${trackers[@]}"; do
        echo "tracker_server = $(address "$tracker"):$first_port"
    done
}

write_conf() {
    local home=$dir/$1
    mkdir -p "$home/base"
    [ ! -e "$home/conf" ] || return 0
    {
        echo "bind_addr = $(address "$1")"
        echo "base_path = $home/base"
        case $1 in
        tracker*)
            echo "port = $first_port"
            echo "check_active_interval = 5"
            echo "reserved_storage_space = 1%"
            ;;
        *)
            mkdir -p "$home/files"
            echo "port = $((first_port + ${1:5:1}))"
            echo "group_name = ${1%-*}"
            echo "store_path0 = $home/files"
            echo "subdir_count_per_path = 16"
            echo "heart_beat_interval = 1"
            echo "stat_report_interval = 2"
            tracker_lines
            ;;
        esac
    } >"$home/conf"
}

# The process id of a daemon that runs, or nothing.
running() {
    local pid file
    for file in "$dir/$1"/base/data/fdfs_*d.pid; do
        pid=$(cat "$file" 2>/dev/null) || continue
        if kill -0 "$pid" 2>/dev/null && grep -qz "$dir/$1/conf" "/proc/$pid/cmdline"; then
            echo "$pid"
        fi
    done
}

start_one() {
    write_conf "$1"
    if [ -z "$(running "$1")" ]; then
        "$bin/$(program "$1")" "$dir/$1/conf" start >/dev/null || die "$1 did not start"
    fi
}

stop_one() {
    [ -z "$(running "$1")" ] || "$bin/$(program "$1")" "$dir/$1/conf" stop >/dev/null
}

start() {
    local one tracker ask=()
    tracker_lines >"$dir/client.conf"
    echo "base_path = $dir" >>"$dir/client.conf"
    for one in "${trackers[@]}" "${storages[@]}"; do
        start_one "$one"
    done
    for tracker in "${trackers[@]}"; do
        ask+=(-t "$(address "$tracker"):$first_port")
    done
    echo "two trackers, three storages in group1, two in group2 run in $dir"
    echo "  watch:   $bin/fdfs -c $dir/client.conf monitor --watch"
    echo "  use:     $bin/fdfs -c $dir/client.conf put FILE"
    echo "  load:    $bin/fdfs_load upload ${ask[*]} --size 4K -n 4"
    echo "  break:   conf/cluster.sh $dir $bin kill group1-b; and revive it"
    echo "  end:     make cluster-stop CLUSTER=$dir"
}

status() {
    local one pid
    for one in "${trackers[@]}" "${storages[@]}"; do
        pid=$(running "$one")
        printf '%-10s %-10s %s\n' "$one" "$(address "$one")" "${pid:+runs as }${pid:-down}"
    done
}

case $action in
start) start ;;
stop)
    for one in "${storages[@]}" "${trackers[@]}"; do
        stop_one "$one"
    done
    ;;
status) status ;;
kill)
    address "$name" >/dev/null
    pid=$(running "$name")
    [ -n "$pid" ] || die "$name does not run"
    kill -9 "$pid"
    ;;
revive)
    address "$name" >/dev/null
    start_one "$name"
    ;;
clean)
    for one in "${storages[@]}" "${trackers[@]}"; do
        stop_one "$one"
        rm -rf "${dir:?}/$one"
    done
    rm -f "$dir/client.conf"
    ;;
*) die "no action $action" ;;
esac
