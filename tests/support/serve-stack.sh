#!/usr/bin/env bash
# A whole drive for one test run: own ports, own directory, gone when the test is gone.
#
#   tests/support/serve-stack.sh [SED-EXPRESSION...]     each edits the shipped configuration
#
# Started by tests (Rust: `support::stack`, Node: the browser tests) with a pipe as its input.
# Prints KEY=VALUE lines (url, run, admin, conf, stack) and then `ready`; everything is stopped
# and removed when the input ends, which is when the test ends, however it ends. A line `keep`
# on the input copies the logs to target/failures first. Programs come from $BIN_DIR, by
# default target/debug. What an earlier run left because it was killed is swept away first.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/ports.sh
. "$root/tests/support/ports.sh"
bin_dir=${BIN_DIR:-$root/target/debug}
stack=("$root/conf/stack.sh")

# Removes directories whose owner no longer lives.
sweep() {
    local dir pid start now
    for dir in /tmp/fastdisk-test.*; do
        if [ ! -O "$dir" ] || [ ! -f "$dir/owner" ]; then continue; fi
        read -r pid start <"$dir/owner" || true
        now=$(cut -d ')' -f 2 "/proc/$pid/stat" 2>/dev/null | cut -d ' ' -f 21) || now=
        [ "$now" != "$start" ] || continue
        "${stack[@]}" --run "$dir/run" clean >/dev/null 2>&1 || continue
        rm -rf "$dir"
    done
}

sweep
dir=$(mktemp -d /tmp/fastdisk-test.XXXXXX)
chmod 711 "$dir"
echo "$$ $(cut -d ')' -f 2 "/proc/$$/stat" | cut -d ' ' -f 21)" >"$dir/owner"
run=$dir/run

finish() {
    trap '' INT TERM HUP # the rest is done even if the terminal goes
    "${stack[@]}" --run "$run" clean >/dev/null 2>&1 || echo "serve-stack: left $dir" >&2
    [ -e "$run" ] || rm -rf "$dir"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

lease_ports 3
# The workers listen on sockets in the run directory: three ports are all a drive needs.
edits=(-e "s|127\\.0\\.0\\.1:8080|127.0.0.1:${ports[0]}|"
    -e "s|^tracker_port = .*|tracker_port = ${ports[1]}|"
    -e "s|127\\.0\\.0\\.1:22122|127.0.0.1:${ports[1]}|"
    -e "s|^storage_port = .*|storage_port = ${ports[2]}|"
    -e '/^\[workers\./,/^$/s|^listen = "127\.0\.0\.1:\([0-9]*\)"|listen = "unix:w\1.sock"|')
for edit in "$@"; do
    edits+=(-e "$edit")
done
sed "${edits[@]}" "$root/conf/fastdisk.toml" >"$dir/fastdisk.toml"
stack+=(--conf "$dir/fastdisk.toml" --bin-dir "$bin_dir")

if ! "${stack[@]}" --run "$run" start >"$dir/start.log" 2>&1; then
    cat "$dir/start.log" >&2
    exit 1
fi
admin=$(sed -n '/administrator, shown/,$p' "$dir/start.log" | sed 1d | tr -s ' \n' ' ')
printf '%s\n' "url=http://127.0.0.1:${ports[0]}" "run=$run" "admin=$admin" \
    "conf=$dir/fastdisk.toml" "stack=${stack[*]} --run $run" ready

while read -r line; do
    case $line in
    keep)
        mkdir -p "$root/target/failures"
        cp -R "$run/log" "$root/target/failures/stack-$(date +%s)-$$"
        echo "serve-stack: logs kept in $root/target/failures/stack-*-$$" >&2
        ;;
    esac
done
