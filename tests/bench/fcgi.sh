#!/usr/bin/env bash
# Requests per second of a trivial FastCGI answer through nginx: ours beside a C worker on
# libfcgi and beside nginx answering by itself, over TCP and over unix sockets, in one run.
#
# The contestants take turns in short rounds, so that whatever else the machine does meets all
# of them; the table shows medians, and the CPU time of the workers per request. It starts its
# own nginx and workers in a temporary directory, and never fails because something was slow.
#
#   tests/bench/fcgi.sh            make bench-fcgi
#   ROUNDS=7 SECONDS_EACH=3 PROCESSES=2 CLIENTS=8 tests/bench/fcgi.sh
#
# A libfcgi process serves one connection until it is closed, so of kept connections only as
# many can be served as there are processes: the rest would wait for ever. It is therefore
# measured in all ways in which it can run, and ours beside it in the same way: with as many
# clients as processes on kept connections ("few"), with a connection for each request
# ("fresh"), and on kept connections with a C process for each client ("many"), where ours still
# has its few processes.
set -euo pipefail
cd "$(dirname "$0")/../.."

rounds=${ROUNDS:-5} seconds=${SECONDS_EACH:-3} processes=${PROCESSES:-$(nproc)}
clients=${CLIENTS:-8} first_port=${PORT:-21100} worker=${WORKER:-target/release/examples/health}
export PATH=$PATH:/usr/sbin:/sbin:$HOME/.cargo/bin

for tool in nginx wrk spawn-fcgi cc; do
    if ! command -v "$tool" >/dev/null; then
        echo "fcgi.sh: $tool is missing: make deps-test" >&2
        exit 1
    fi
done

dir=$(mktemp -d "${TMPDIR:-/tmp}/fastdisk-bench-XXXXXX")
chmod 755 "$dir"
pids=()
finish() {
    for pid in "${pids[@]}"; do kill "$pid" 2>/dev/null || true; done
    for pid in "${pids[@]}"; do
        while kill -0 "$pid" 2>/dev/null; do sleep 0.1; done
    done
    rm -rf "$dir"
}
trap finish EXIT

port=$first_port
free_port() { # the next port where nobody listens, in $port
    while (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do port=$((port + 1)); done
}

cc -O2 -o "$dir/hello" tests/bench/hello.c -lfcgi
[ -n "${WORKER:-}" ] || cargo build --release --quiet -p web --example health
cp "$worker" "$dir/ours"

# Starts so many processes of a program on a TCP port and as many on a unix socket.
declare -A port_of pids_of
start() { # name program processes
    free_port
    port_of[$1]=$port
    spawn-fcgi -a 127.0.0.1 -p "$port" -b 1024 -F "$3" -P "$dir/$1-tcp.pid" -- "$2" >/dev/null
    port=$((port + 1))
    spawn-fcgi -s "$dir/$1.sock" -M 0666 -b 1024 -F "$3" -P "$dir/$1-unix.pid" -- "$2" >/dev/null
    for kind in tcp unix; do
        pids_of[$1-$kind]=$(tr '\n' ' ' <"$dir/$1-$kind.pid")
        # shellcheck disable=SC2206 # a list of numbers
        pids+=(${pids_of[$1-$kind]})
    done
}
start c "$dir/hello" "$processes"
start many "$dir/hello" "$clients"
start ours "$dir/ours" "$processes"

free_port
site=$port
{
    echo "worker_processes 1; daemon off; pid $dir/nginx.pid; error_log $dir/error.log;"
    echo "events { worker_connections 1024; }"
    echo "http { access_log off; keepalive_requests 1000000;"
    for name in c many ours; do
        kept="keepalive 64; keepalive_requests 1000000;"
        echo "upstream $name-tcp { server 127.0.0.1:${port_of[$name]}; $kept }"
        echo "upstream $name-unix { server unix:$dir/$name.sock; $kept }"
    done
    echo "server { listen 127.0.0.1:$site;"
    for path in client_body proxy fastcgi uwsgi scgi; do
        echo "${path}_temp_path $dir/$path;"
    done
    echo "location = /return { default_type application/json; return 200 '{\"status\":\"ok\"}'; }"
    for name in c many ours; do
        for kind in tcp unix; do
            for keep in on off; do
                # Without keep_conn the worker closes, and nginx has nothing to keep.
                echo "location = /$name/$kind/$keep {"
                echo "fastcgi_pass $name-$kind; fastcgi_keep_conn $keep;"
                for param in REQUEST_METHOD:\$request_method QUERY_STRING:\$query_string \
                    CONTENT_TYPE:\$content_type CONTENT_LENGTH:\$content_length \
                    DOCUMENT_URI:\$document_uri SERVER_PROTOCOL:\$server_protocol \
                    REMOTE_ADDR:\$remote_addr REMOTE_PORT:\$remote_port \
                    SERVER_ADDR:\$server_addr SERVER_PORT:\$server_port \
                    SERVER_NAME:\$server_name REQUEST_SCHEME:\$scheme \
                    REQUEST_URI:/api/login/health; do
                    echo "fastcgi_param ${param%%:*} ${param#*:};"
                done
                echo "}"
            done
        done
    done
    echo "} }"
} >"$dir/nginx.conf"
nginx -p "$dir" -e "$dir/error.log" -c "$dir/nginx.conf" &
pids+=($!)
until [ -s "$dir/nginx.pid" ]; do sleep 0.05; done

ticks() { # user and system time of processes, in clock ticks
    local sum=0 pid fields
    for pid in "$@"; do
        read -r -a fields <<<"$(sed 's/.*) //' "/proc/$pid/stat")"
        sum=$((sum + fields[11] + fields[12]))
    done
    echo "$sum"
}

# One round of one contestant: appends "requests/s cpu-microseconds" to its file.
round() { # label path clients pids...
    local label=$1 path=$2 count=$3 before after out total errors
    shift 3
    before=$(ticks "$@")
    out=$(wrk -t1 -c"$count" -d"${seconds}s" "http://127.0.0.1:$site$path")
    after=$(ticks "$@")
    errors=$(grep -E 'Non-2xx|Socket errors' <<<"$out" || true)
    [ -z "$errors" ] || echo "$label: $errors" >&2
    total=$(awk '/requests in/ { print $1 }' <<<"$out")
    awk -v rate="$(awk '/Requests\/sec/ { print $2 }' <<<"$out")" -v total="$total" \
        -v ticks=$((after - before)) -v hertz="$(getconf CLK_TCK)" \
        'BEGIN { print rate, total ? ticks / hertz * 1e6 / total : 0 }' >>"$dir/result-$label"
}

take() { # label contestant kind keep clients
    # shellcheck disable=SC2086 # a list of process numbers
    round "$1" "/$2/$3/$4" "$5" ${pids_of[$2-$3]}
}
for try in $(seq 0 "$rounds"); do
    round return /return "$clients"
    for kind in tcp unix; do
        take "c-$kind-few" c $kind on "$processes"
        take "ours-$kind-few" ours $kind on "$processes"
        take "c-$kind-fresh" c $kind off "$clients"
        take "ours-$kind-fresh" ours $kind off "$clients"
        take "c-$kind-many" many $kind on "$clients"
        take "ours-$kind-many" ours $kind on "$clients"
    done
    # The first round warms up.
    [ "$try" -gt 0 ] || rm -f "$dir"/result-*
done

median() { # of numbers, one a line
    sort -n | awk '{ all[NR] = $1 }
        END { print (all[int((NR + 1) / 2)] + all[int((NR + 2) / 2)]) / 2 }'
}
row() { # text label compared-with
    local rate cpu ratio=-
    rate=$(cut -d' ' -f1 "$dir/result-$2" | median)
    cpu=$(cut -d' ' -f2 "$dir/result-$2" | median)
    if [ -n "$3" ]; then
        # Of each round by itself, then the median: both met the same moment of the machine.
        ratio=$(paste -d' ' "$dir/result-$2" "$dir/result-$3" | awk '{ print $1 / $3 }' | median)
        ratio=$(printf '%.2f' "$ratio")
    fi
    printf '%-44s %10.0f %8s %10.1f\n' "$1" "$rate" "$ratio" "$cpu"
}
echo "$rounds rounds of ${seconds}s, ours with $processes processes, nginx with 1, $(nproc) cores"
printf '%-44s %10s %8s %10s\n' "" "requests/s" "to C" "CPU us/req"
row "nginx return 200, $clients clients" return ""
for kind in tcp unix; do
    row "$kind, few: C, $processes processes and clients" "c-$kind-few" ""
    row "$kind, few: ours" "ours-$kind-few" "c-$kind-few"
    row "$kind, fresh: C, $processes processes, $clients clients" "c-$kind-fresh" ""
    row "$kind, fresh: ours" "ours-$kind-fresh" "c-$kind-fresh"
    row "$kind, many: C, $clients processes and clients" "c-$kind-many" ""
    row "$kind, many: ours" "ours-$kind-many" "c-$kind-many"
done
