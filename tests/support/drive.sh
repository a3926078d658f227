# shellcheck shell=bash
# A drive of its own for a script: sourced, with $root set.
#
#   drive_start WORK [SED-EXPRESSION...]   starts one (serve-stack.sh); sets $url, $run and $facts
#   drive_keep                             its logs are to be copied to target/failures
#   drive_stop                             ends it and waits for that
#
# WORK is a directory of the script's own. The drive ends with the script, however that ends: it
# holds the other end of file descriptor 7.

drive_start() {
    local work=$1 server
    shift
    facts=$work/facts
    mkfifo "$work/pipe"
    "${root:?}/tests/support/serve-stack.sh" "$@" <"$work/pipe" >"$facts" 2>"$work/stack.err" &
    server=$!
    exec 7>"$work/pipe"
    until grep -q '^ready$' "$facts"; do
        kill -0 $server 2>/dev/null || { cat "$work/stack.err" >&2; exit 1; }
        sleep 0.2
    done
    url=$(sed -n 's/^url=//p' "$facts")
    run=$(sed -n 's/^run=//p' "$facts")
    export url run
}

drive_keep() {
    echo keep >&7
}

drive_stop() {
    exec 7>&- || true
    wait || true
}
