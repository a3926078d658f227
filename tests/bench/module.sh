#!/usr/bin/env bash
# Compares the download module with nginx's own static files: same nginx, same files, in turn.
#
#   tests/bench/module.sh [ROUNDS] [SECONDS]      defaults: 7 rounds of 1 second each
#
# Prints for each size the requests per second of both (the median round), and two ratios, each
# the median of those of the rounds: of requests per second, and of nginx's own CPU time per
# request. A round asks both within a second or two, so that other work on the machine disturbs
# both alike. For 1 GiB it is bytes per second over one connection. 1.00 is as good as static; the
# goal is 0.97 or more. Needs wrk and curl; builds the module.
set -euo pipefail

rounds=${1:-7} seconds=${2:-1}
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
module=${CARGO_TARGET_DIR:-$root/target}/release/libngx_fastdfs_module.so
PATH=$PATH:/usr/sbin:/usr/local/sbin
die() {
    echo "module.sh: $*" >&2
    exit 1
}
for program in nginx wrk curl; do
    command -v "$program" >/dev/null || die "no $program: apt-get install $program"
done
"$root/nginx/module/build.sh" release

dir=$(mktemp -d)
trap 'nginx -p "$dir" -c "$dir/nginx.conf" -s stop 2>/dev/null || true; rm -rf "$dir"' EXIT
chmod 755 "$dir"
files=$dir/store/data/00/00
mkdir -p "$files" "$dir/tmp"

# The name of a normal file of $1 bytes (storage.md 2.3): id, time, size, sum in base64.
name() {
    local record
    record=$(printf '0a4d00016b0364e8804959d9%08xb70b4c26' "$1" | sed 's/../\\x&/g')
    # shellcheck disable=SC2059 # the format is the record
    printf "$(printf "$record" | base64 -w0 | tr '+/' '-_' | cut -c1-27)514.jpg"
}

port=${PORT:-$((20000 + RANDOM % 10000))}
cat >"$dir/nginx.conf" <<CONF
user $(id -un);
worker_processes 1;
load_module $module;
pid $dir/pid;
error_log $dir/error.log warn;
events { worker_connections 512; }
http {
    include /etc/nginx/mime.types;
    access_log off;
    client_body_temp_path $dir/tmp/a; proxy_temp_path $dir/tmp/b; fastcgi_temp_path $dir/tmp/c;
    uwsgi_temp_path $dir/tmp/d; scgi_temp_path $dir/tmp/e;
    sendfile on; tcp_nopush on; keepalive_requests 1000000;
    ${CACHE-open_file_cache max=1000; open_file_cache_valid 1s;}
    server {
        listen 127.0.0.1:$port;
        fastdfs_group group1;
        fastdfs_store_path $dir/store;
        location /group1/M00/ { ngx_fastdfs_module; }
        location /static1/M00/ { alias $dir/store/data/; }
    }
}
CONF
nginx -p "$dir" -c "$dir/nginx.conf"
until [ -s "$dir/pid" ] && worker=$(pgrep -P "$(cat "$dir/pid")"); do sleep 0.05; done

cpu_ticks() { awk '{ print $14 + $15 }' "/proc/$worker/stat"; }

# Prints requests per second and microseconds of CPU per request for one address.
measure() {
    local before after report
    before=$(cpu_ticks)
    report=$(wrk -t1 -c32 -d"${seconds}s" "http://127.0.0.1:$port$1")
    after=$(cpu_ticks)
    if grep -q 'Non-2xx\|Socket errors' <<<"$report"; then
        die "$1: $report"
    fi
    awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" '
        $2 == "requests" { n = $1 } $1 == "Requests/sec:" { rate = $2 }
        END { printf "%.0f %.2f\n", rate, ticks / hz * 1e6 / n }' <<<"$report"
}

# Prints megabytes per second and microseconds of CPU per megabyte for one large file.
stream() {
    local before after taken
    before=$(cpu_ticks)
    taken=$(curl --silent --fail --output /dev/null --write-out '%{time_total} %{size_download}' \
        "http://127.0.0.1:$port$1") || die "$1: curl failed"
    after=$(cpu_ticks)
    awk -v ticks=$((after - before)) -v hz="$(getconf CLK_TCK)" \
        '{ mb = $2 / 1e6; printf "%.0f %.2f\n", mb / $1, ticks / hz * 1e6 / mb }' <<<"$taken"
}

# Lines of "module cpu static cpu" in; medians of the rates and of the ratios of each line out.
summary() {
    awk '
        function median(list, n,    i, j, t) {
            for (i = 2; i <= n; i++)
                for (j = i; j > 1 && list[j] < list[j - 1]; j--) {
                    t = list[j]; list[j] = list[j - 1]; list[j - 1] = t
                }
            return n % 2 ? list[(n + 1) / 2] : (list[n / 2] + list[n / 2 + 1]) / 2
        }
        { ours[NR] = $1; other[NR] = $3; rate[NR] = $1 / $3; cpu[NR] = $2 ? $4 / $2 : 1 }
        END { printf "%11.0f %11.0f %11.3f %13.3f\n",
                  median(ours, NR), median(other, NR), median(rate, NR), median(cpu, NR) }' "$1"
}

row() {
    printf '%9s ' "$1"
    summary "$2"
}

echo "     size    module/s    static/s    requests   cpu/request"
for size in 4096 65536 1048576; do
    file=$(name "$size")
    head -c "$size" /dev/urandom >"$files/$file"
    # Who goes first takes turns, so that a machine that warms up or tires favours neither.
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) = 0 ]; then
            ours=$(measure "/group1/M00/00/00/$file")
            other=$(measure "/static1/M00/00/00/$file")
        else
            other=$(measure "/static1/M00/00/00/$file")
            ours=$(measure "/group1/M00/00/00/$file")
        fi
        echo "$ours $other"
    done >"$dir/results.$size"
    row "$size" "$dir/results.$size"
done

size=$((1 << 30))
file=$(name "$size")
truncate -s "$size" "$files/$file" # sparse: the disk is not what is measured
for path in group1 static1; do
    curl --silent --output /dev/null "http://127.0.0.1:$port/$path/M00/00/00/$file"
done
for _ in $(seq "$rounds"); do
    echo "$(stream "/group1/M00/00/00/$file") $(stream "/static1/M00/00/00/$file")"
done >"$dir/results.$size"
echo "     size module MB/s static MB/s       bytes      cpu/byte"
row "1 GiB" "$dir/results.$size"
