#!/usr/bin/env bash
# What the drive's way in costs, beside plain nginx on the same machine in the same run:
#
#   tests/bench/web.sh [FILES] [LARGE_MIB] [PARALLEL]
#
# 1. FILES files of 10 KiB with a session, 16 clients, through nginx, worker and store, in turn with
#    the same files by nginx's WebDAV PUT into a directory: files/s of both and their ratio.
# 2. The same into a folder that has 100,000 entries already.
# 3. PARALLEL uploads of LARGE_MIB MiB at once: peak memory of the worker before and after, which
#    must not grow with their size; CPU seconds per GiB of worker, storage and nginx. Then one of
#    them downloaded eight times at once, and the same again.
#
# An answer that is not 201, or 200, ends the run: what was refused is no figure.
# Run by `make bench-web`; builds nothing. Prints figures and judges none.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/ports.sh
. "$root/tests/support/ports.sh"
# shellcheck source=tests/support/drive.sh
. "$root/tests/support/drive.sh"
files=${1:-10000}
large_mib=${2:-100}
parallel=${3:-200}
clients=16
work=$(mktemp -d /tmp/fastdisk-bench.XXXXXX)

finish() {
    [ -z "${dav:-}" ] || kill "$dav" 2>/dev/null || true
    drive_stop
    rm -rf "$work"
}
trap finish EXIT

export BIN_DIR=${BIN_DIR:-$root/target/release}
drive_start "$work" \
    's/^quota_default_bytes = .*/quota_default_bytes = 1_000_000_000_000/' \
    's/^uploads_per_user_max = .*/uploads_per_user_max = 1000/'

curl -s -f -o /dev/null -c "$work/jar" -H 'content-type: application/json' \
    -d '{"name":"bench","password":"a long enough one"}' "$url/api/register"

# Plain nginx with WebDAV, as the limit.
lease_ports 1
mkdir -p "$work/dav/files" "$work/dav/tmp"
chmod 777 "$work/dav/files" "$work/dav/tmp" "$work"
cat >"$work/dav/nginx.conf" <<EOF
worker_processes auto;
pid $work/dav/pid;
error_log $work/dav/error.log;
events { worker_connections 1024; }
http {
    access_log off;
    client_body_temp_path $work/dav/tmp;
    server {
        listen 127.0.0.1:${ports[0]};
        location / { root $work/dav/files; dav_methods PUT; client_max_body_size 0; }
    }
}
EOF
nginx -e "$work/dav/error.log" -p "$work/dav" -c "$work/dav/nginx.conf" -g 'daemon off;' &
dav=$!

head -c 10240 /dev/urandom >"$work/small"
now() { date +%s.%N; }
rate() { awk -v n="$1" -v a="$2" -v b="$3" 'BEGIN { printf "%.0f", n / (b - a) }'; }

# Puts files $2..$3 below $1 by $clients processes of curl, each with one connection.
put_many() {
    local prefix=$1 first=$2 last=$3 suffix=${4:-} client
    for ((client = 0; client < clients; client++)); do
        for ((n = first + client; n <= last; n += clients)); do
            # `next` forgets all options, so each has its own.
            printf 'next\nsilent\ncookie="%s"\nwrite-out="%%{http_code}\\n"\n' "$work/jar"
            printf 'url="%s%s%s"\nupload-file="%s"\noutput=/dev/null\n' \
                "$prefix" "$n" "$suffix" "$work/small"
        done | sed 1d >"$work/list.$client"
        curl -K "$work/list.$client" >"$work/codes.$client" &
        jobs_of[client]=$!
    done
    wait "${jobs_of[@]}"
    all_are 201 "$work"/codes.*
}

# Ends the run unless every line of the files from $2 on is $1.
all_are() {
    local want=$1
    shift
    if grep -qvx "$want" "$@"; then
        sort "$@" | uniq -c | sed 's/^/answers: /' >&2
        exit 1
    fi
}
jobs_of=()

round() { # label, suffix of the address
    local a b ours theirs third=$((files / 3)) n
    for n in 0 1 2; do
        a=$(now)
        put_many "$url/api/upload/$1-" $((n * third + 1)) $(((n + 1) * third)) "$2"
        b=$(now)
        ours=$(rate "$third" "$a" "$b")
        a=$(now)
        put_many "http://127.0.0.1:${ports[0]}/$1-" $((n * third + 1)) $(((n + 1) * third))
        b=$(now)
        theirs=$(rate "$third" "$a" "$b")
        echo "$1: drive $ours files/s, nginx WebDAV $theirs files/s, ratio" \
            "$(awk -v a="$ours" -v b="$theirs" 'BEGIN { printf "%.2f", a / b }')"
    done
}

round empty-folder ''
folder=$(curl -s -b "$work/jar" -H 'content-type: application/json' -d '{"name":"full"}' \
    "$url/api/disk" | sed 's/.*"id":"\([0-9]*\)".*/\1/')
owner=$(mariadb --no-defaults --protocol=socket "--socket=$run/mysql.sock" -u fastdisk fastdisk \
    -N -e "SELECT owner FROM node WHERE id = $folder")
mariadb --no-defaults --protocol=socket "--socket=$run/mysql.sock" -u fastdisk fastdisk -e "
    INSERT INTO node (owner, parent, name, kind, size, category, created_ms, modified_ms)
    SELECT $owner, $folder, CONCAT('entry ', seq), 0, 0, 0, 1, 1 FROM seq_1_to_100000"
round full-folder "?parent=$folder"

cpu() { # ticks of the processes of a service and of their children
    local pid child sum=0 fields
    while read -r pid _; do
        for child in "$pid" $(pgrep -P "$pid"); do
            read -ra fields <"/proc/$child/stat" || continue
            sum=$((sum + fields[13] + fields[14]))
        done
    done <"$run/pid/$1"
    echo "$sum"
}
per_gib() { # GiB, services
    local gib=$1 name
    shift
    for name in "$@"; do
        awk -v t="$(($(cpu "$name") - before[$name]))" -v hz="$(getconf CLK_TCK)" -v g="$gib" \
            -v name="$name" 'BEGIN { printf "%s: %.2f CPU s/GiB\n", name, t / hz / g }'
    done
}
peak() {
    local pid
    read -r pid _ <"$run/pid/upload"
    awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$pid/status"
}

head -c $((large_mib << 20)) /dev/zero >"$work/large"
echo "upload: peak memory of the worker before $(peak) MiB"
declare -A before
for name in upload storage nginx; do before[$name]=$(cpu "$name"); done
a=$(now)
for ((n = 0; n < parallel; n++)); do
    curl -s -b "$work/jar" -o /dev/null -w '%{http_code}\n' -T "$work/large" \
        "$url/api/upload/large-$n" >"$work/code.$n" &
    jobs_of[n]=$!
done
wait "${jobs_of[@]}"
b=$(now)
all_are 201 "$work"/code.*
gib=$(awk -v n="$parallel" -v m="$large_mib" 'BEGIN { printf "%.3f", n * m / 1024 }')
echo "upload: peak memory of the worker after $parallel x $large_mib MiB at once $(peak) MiB," \
    "$(awk -v g="$gib" -v a="$a" -v b="$b" 'BEGIN { printf "%.0f", g * 1024 / (b - a) }') MiB/s"
per_gib "$gib" upload storage nginx

node=$(curl -s -b "$work/jar" "$url/api/mydisk/search?q=large-0" |
    sed 's/.*"id":"\([0-9]*\)".*/\1/')
for name in download nginx; do before[$name]=$(cpu "$name"); done
a=$(now)
jobs_of=()
for ((n = 0; n < 8; n++)); do
    curl -s -b "$work/jar" -o /dev/null -w '%{http_code}\n' "$url/api/download/$node" \
        >"$work/got.$n" &
    jobs_of[n]=$!
done
wait "${jobs_of[@]}"
b=$(now)
all_are 200 "$work"/got.*
gib=$(awk -v m="$large_mib" 'BEGIN { printf "%.3f", 8 * m / 1024 }')
awk -v g="$gib" -v a="$a" -v b="$b" \
    'BEGIN { printf "download: %.0f MiB/s\n", g * 1024 / (b - a) }'
per_gib "$gib" download nginx
