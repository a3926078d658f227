#!/usr/bin/env bash
# Processes of a run directory: start and record, recognise, wait for, stop. Read by
# `conf/stack.sh`, which sets `run`, `clean_env` and `as_service`; does nothing by itself.
#
# A service is a name. Its processes stand in pid/NAME, one line each:
#
#     <pid> <start time, clock ticks since boot> <boot id>
#
# so that a number that the kernel has given to somebody else since is never signalled. The line
# is written by the process itself, just before it becomes the program: killing this script at
# any point leaves nothing unrecorded.
# shellcheck shell=bash disable=SC2154,SC2015

read -r boot_id </proc/sys/kernel/random/boot_id
interrupted=

say() {
    echo "fastdisk: $*"
}

warn() {
    echo "fastdisk: $*" >&2
}

die() {
    warn "$@"
    exit 1
}

# Called between steps and in each wait, so that nothing is cut in its middle.
leave_if_interrupted() {
    [ -n "$interrupted" ] || return 0
    warn "interrupted; \`make run\` goes on from here, \`make stop\` ends what runs"
    exit 130
}

# Start time and session of process $1, in `started` and `session`; fails if it is gone.
look_at() {
    local stat fields
    { read -r stat <"/proc/$1/stat"; } 2>/dev/null || return 1
    read -ra fields <<<"${stat##*) }" # the name before `)` may hold anything
    started=${fields[19]} session=${fields[3]}
    [ "${fields[0]}" != Z ]
}

# The living processes of service $1, in `pids`.
living() {
    local pid start boot started session
    pids=()
    [ -f "$run/pid/$1" ] || return 0
    while read -r pid start boot; do
        [ "$boot" = "$boot_id" ] && look_at "$pid" && [ "$started" = "$start" ] || continue
        pids+=("$pid")
    done <"$run/pid/$1"
}

is_up() {
    living "$1"
    [ ${#pids[@]} -gt 0 ]
}

# Records process $2 of service $1.
record() {
    local started session
    look_at "$2" || return 0
    echo "$2 $started $boot_id" >>"$run/pid/$1"
}

# A log that has grown large makes room when its service starts again.
log_of() {
    log=$run/log/$1.log
    if [ -f "$log" ] && [ "$(stat -c %s "$log")" -gt $((64 << 20)) ]; then
        mv -f "$log" "$log.1"
    fi
}

# Runs a command as the servers run: their user, their environment.
as_server() {
    "${clean_env[@]}" "${as_service[@]}" "$@" 9>&-
}

# The same, with its words in the log of $1. The log is opened by the service user, whose it is.
logged() {
    local log
    log_of "$1"
    shift
    # shellcheck disable=SC2016
    as_server "$BASH" -c 'exec "$@" </dev/null >>"$0" 2>&1' "$log" "$@"
}

# Starts service $1 as the service user, in a session of its own: Ctrl-C does not reach it.
launch() {
    local name=$1 log
    shift
    sweep "$name"
    rm -f "$run/pid/$name"
    log_of "$name"
    # shellcheck disable=SC2016 # expanded by the shell that becomes the service
    setsid "$BASH" -c '
        read -r stat <"/proc/$$/stat"
        read -ra fields <<<"${stat##*) }"
        echo "$$ ${fields[19]} $1" >>"$0"
        shift
        exec "$@"' "$run/pid/$name" "$boot_id" "${clean_env[@]}" "${as_service[@]}" \
        "$BASH" -c 'exec "$@" </dev/null >>"$0" 2>&1' "$log" "$@" 9>&- </dev/null >/dev/null 2>&1 &
    local job=$!
    while [ ! -s "$run/pid/$name" ] && kill -0 "$job" 2>/dev/null; do
        sleep 0.02
    done
}

# Starts $2 processes of worker $1 on the one socket that the remaining arguments give.
launch_worker() {
    local name=$1 count=$2 log pid
    shift 2
    adopt "$name"
    rm -f "$run/pid/$name" "$run/pid/$name.spawned"
    log_of "$name"
    # Without -n spawn-fcgi sends standard error away; the shell in between opens the log.
    # shellcheck disable=SC2016
    "${clean_env[@]}" spawn-fcgi "$@" -F "$count" -P "$run/pid/$name.spawned" -- \
        "$BASH" -c 'exec "$0" 2>>"$1"' "$run/bin/$name" "$log" 9>&- </dev/null \
        >"$run/pid/$name.out" 2>&1 || die "spawn-fcgi $name: $(<"$run/pid/$name.out")"
    adopt "$name"
}

# Takes the processes that spawn-fcgi wrote down into the record, with their start times.
adopt() {
    local pid exe
    [ -s "$run/pid/$1.spawned" ] || return 0
    for pid in $(<"$run/pid/$1.spawned"); do
        exe=$(readlink "/proc/$pid/exe" 2>/dev/null) || continue
        case $exe in
        # On a busy machine it may not have become the worker yet; its start time stays.
        "$run/bin/$1" | "$run/bin/$1 (deleted)" | */bash | */spawn-fcgi) record "$1" "$pid" ;;
        esac
    done
    rm -f "$run/pid/$1.spawned"
}

# Ends what a service that died left in its session: nginx's workers outlive their master.
sweep() {
    local pid start boot left
    [ -f "$run/pid/$1" ] || return 0
    while read -r pid start boot; do
        [ "$boot" = "$boot_id" ] || continue
        for _ in {1..100}; do
            rest_of_session "$pid" "$start"
            [ ${#left[@]} -gt 0 ] || break
            kill -KILL "${left[@]}" 2>/dev/null || true
            sleep 0.02
        done
    done <"$run/pid/$1"
}

# The living processes of the session that $1, started at $2, led; in `left`.
rest_of_session() {
    local proc started session
    left=()
    # A leader of another age: the number is somebody else's now, and so is the session.
    if look_at "$1" && [ "$started" != "$2" ]; then
        return 0
    fi
    for proc in /proc/[0-9]*; do
        look_at "${proc#/proc/}" && [ "$session" = "$1" ] || continue
        # Later than its leader, so it is no stranger's session under a recycled number.
        [ "$started" -lt "$2" ] || left+=("${proc#/proc/}")
    done
}

# Waits until the living processes of service $1 are gone, at most $2 seconds.
wait_gone() {
    local deadline=$((SECONDS + $2))
    while is_up "$1"; do
        [ $SECONDS -lt $deadline ] || return 1
        sleep 0.05
    done
}

# Stops service $1: each further pair is a signal and the seconds it is given.
stop_service() {
    local name=$1
    shift
    adopt "$name"
    if is_up "$name"; then
        while [ $# -gt 0 ]; do
            living "$name"
            kill "-$1" "${pids[@]}" 2>/dev/null || true
            wait_gone "$name" "$2" && break
            shift 2
            [ $# = 0 ] || warn "$name does not stop; sending it SIG$1"
        done
        is_up "$name" && die "$name is still stopping; run \`make stop\` again"
        say "stopped $name"
    fi
    sweep "$name"
    rm -f "$run/pid/$name" "$run/pid/$name.out"
}

# Waits at most $2 seconds until the rest of the arguments, run as a command, succeeds; ends
# with the service's own words if it dies or does not get there.
await() {
    local name=$1 deadline=$((SECONDS + $2)) seconds=$2
    shift 2
    until "$@"; do
        leave_if_interrupted
        is_up "$name" || give_up "$name" "ended before it was ready"
        [ $SECONDS -lt $deadline ] || give_up "$name" "is not ready after $seconds seconds"
        sleep 0.1
    done
    leave_if_interrupted
}

give_up() {
    warn "$1 $2. Its last lines, from $run/log/$1.log:"
    tail -n 20 "$run/log/$1.log" 2>/dev/null | sed 's/^/    /' >&2
    die "what was started before goes on running; \`make run\` tries again, \`make stop\` ends it"
}

# Is somebody listening where a server on host $1, port $2 would? Asks the kernel's tables.
port_taken() {
    local IFS=. octets address=00000000
    read -ra octets <<<"${1/localhost/127.0.0.1}"
    [ ${#octets[@]} = 4 ] && printf -v address %02X%02X%02X%02X "${octets[3]}" "${octets[2]}" \
        "${octets[1]}" "${octets[0]}"
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v address="$address" -v port="$(printf %04X "$2")" '
            { split($2, local, ":") }
            $4 == "0A" && local[2] == port {
                any = local[1] ~ /^0+$/ || address ~ /^0+$/
                if (any || substr(local[1], length(local[1]) - 7) == address) found = 1
            }
            END { exit !found }'
}
