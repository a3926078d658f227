#!/usr/bin/env bash
# Runs the whole drive in one directory: database, caches, tracker, storage, workers, nginx.
#
#   conf/stack.sh [--conf FILE] [--run DIR] [--bin-dir DIR] start|stop|status|logs|clean
#
# Called by `make run`, `make stop` and so on, and by the tests with a configuration and a
# directory of their own. Everything needed at run time is copied into the run directory, an
# installed image that a service user can read; nothing outside it is written, except that root
# makes the system user `fastdisk` and, where that user could not reach the directory, keeps
# the data in /var/lib/fastdisk behind a link. Never touches the machine's own servers.
# shellcheck disable=SC2154 # site_*, run_*, database_* and so on come from `fastdisk config`
set -euo pipefail
umask 027

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")
PATH=$PATH:/usr/sbin:/sbin
# shellcheck source=conf/process.sh
. "$here/process.sh"
# shellcheck source=conf/image.sh
. "$here/image.sh"

conf=$here/fastdisk.toml
run=$root/run
bin_dir=$root/target/release
service_user=fastdisk
# Below this, names of sockets fit into the 107 bytes that the kernel allows.
run_path_max=80

usage() {
    sed -n '4s/^# *//p' "${BASH_SOURCE[0]}" >&2
    exit 2
}

# Where things are ------------------------------------------------------------------------

# The run directory, created if need be: `run` becomes its true path.
open_run() {
    case $run in /*) ;; *) run=$PWD/$run ;; esac
    local named=$run
    [ -L "$run" ] || [ -d "$run" ] || choose_place
    [ -e "$run" ] || die "$named is a link to nowhere; remove it"
    run=$(realpath "$run")
    if [ ! -e "$run/.fastdisk" ]; then
        [ -z "$(ls -A "$run")" ] || die "$named is not empty and not a run directory"
        touch "$run/.fastdisk"
    fi
    own_run
    mkdir -p "$run"/{bin,etc,lib,pid} "$run"/{data,log,tmp}
    if [ "$(id -u)" = 0 ]; then
        # Ours stay ours: with the sticky bit the service user adds sockets, but replaces nothing.
        chgrp "$service_user" "$run" "$run"/{bin,etc,lib}
        chmod 1770 "$run"
        chown "$service_user:$service_user" "$run"/{data,log,tmp}
        chmod 755 "$run/pid"
    else
        # Also if somebody else made the directory: the sockets in it ask for no password.
        chmod 700 "$run"
    fi
}

own_run() {
    [ -O "$run/.fastdisk" ] || die "$run belongs to $(stat -c %U "$run"): run this as that user"
}

# Makes the run directory where the service user can reach it.
choose_place() {
    mkdir -p "$(dirname "$run")"
    local place
    place=$(realpath "$(dirname "$run")")/$(basename "$run")
    if [ "$(id -u)" = 0 ] && { [ ${#place} -gt $run_path_max ] ||
        ! "${as_service[@]}" test -x "$(dirname "$place")"; }; then
        local far
        far=/var/lib/fastdisk/$(printf %s "$place" | sha256sum | cut -c 1-12)
        say "user $service_user cannot reach $place: the data goes to $far"
        mkdir -p "$far"
        chmod 755 /var/lib/fastdisk
        ln -sfn "$far" "$run"
    else
        mkdir "$run"
    fi
}

# As root, servers run as a system user of their own; else as whoever calls.
choose_user() {
    as_service=()
    [ "$(id -u)" = 0 ] || return 0
    if ! getent passwd "$service_user" >/dev/null; then
        useradd --system --user-group --no-create-home --home-dir /nonexistent \
            --shell /usr/sbin/nologin "$service_user"
    fi
    as_service=(setpriv "--reuid=$service_user" "--regid=$service_user" --init-groups)
}

# What servers get to see of the environment: nothing of the caller's but these.
choose_environment() {
    clean_env=(env -i "PATH=$PATH" LANG=C.UTF-8 "HOME=$run/tmp" "TMPDIR=$run/tmp"
        "FASTDISK_CONF=$run/etc/fastdisk.toml" "FASTDISK_RUN=$run")
    local name
    for name in RUST_LOG RUST_BACKTRACE TZ; do
        [ -z "${!name:-}" ] || clean_env+=("$name=${!name}")
    done
}

# One start, stop or clean at a time. Descriptor 9 is never handed to a server.
lock() {
    exec 9>>"$run/.fastdisk"
    flock -n 9 && return 0
    say "another start or stop is at work in $run; waiting for it"
    flock -w 600 9 || die "it has not ended after 10 minutes"
}

# Checked settings as variables: site_host, run_tracker_port, workers_login_listen, …
read_settings() {
    local settings
    settings=$("$1" --conf "$2" --run "$run" config) || exit 1
    eval "$settings"
    local own=" 127.0.0.1:$run_tracker_port localhost:$run_tracker_port "
    [ "$store_private" != true ] || [[ $own == *" $store_trackers "* ]] ||
        die "$conf: [store] trackers must be [\"127.0.0.1:$run_tracker_port\"], the tracker that" \
            "\`tracker_port\` starts, or [store] private = false"
    services=()
    [ "$database_private" != true ] || services+=(mysql)
    [ "$redis_private" != true ] || services+=(redis)
    [ "$memcached_private" != true ] || services+=(memcached)
    [ "$store_private" != true ] || services+=(tracker storage)
    # shellcheck disable=SC2206 # names without blanks
    services+=($workers nginx)
}

worker_listen() {
    local key=workers_$1_listen
    listen=${!key}
    key=workers_$1_processes
    processes=${!key}
}

# Starting ------------------------------------------------------------------------------------

# Says which ports that we are about to use are somebody else's, and where to change them.
check_ports() {
    local name taken=0 listen processes
    claim() { # service, host, port, key, section
        is_up "$1" && return 0
        sweep "$1"
        port_taken "$2" "$3" || return 0
        warn "port $3 is taken by another program: free it, or change \`$4\` in [$5] of $conf"
        taken=1
    }
    claim nginx "$site_host" "$site_port" listen site
    if [ "$store_private" = true ]; then
        claim tracker 127.0.0.1 "$run_tracker_port" tracker_port run
        claim storage 127.0.0.1 "$run_storage_port" storage_port run
    fi
    for name in $workers; do
        worker_listen "$name"
        case $listen in
        unix:*) ;;
        *) claim "$name" "${listen%:*}" "${listen##*:}" listen "workers.$name" ;;
        esac
    done
    [ $taken = 0 ] || exit 1
}

start_mysql() {
    if [ ! -d "$run/data/mysql" ]; then
        say "creating the database"
        rm -rf "$run/data/mysql.new"
        logged mysql-install mariadb-install-db --no-defaults --skip-test-db \
            "--datadir=$run/data/mysql.new" --auth-root-authentication-method=normal ||
            die "the database could not be created; see $run/log/mysql-install.log"
        "${as_service[@]}" mv "$run/data/mysql.new" "$run/data/mysql"
    fi
    launch mysql mariadbd "--defaults-file=$run/etc/mariadb.cnf"
}

mysql_root() {
    mariadb --no-defaults --protocol=socket "--socket=$database_socket" --user=root "$@"
}

start_redis() {
    "${as_service[@]}" mkdir -p "$run/data/redis"
    launch redis redis-server "$run/etc/redis.conf"
}

start_memcached() {
    launch memcached memcached -s "$memcached_socket" -a 0700 -U 0 -m 64 -c 1024
}

start_tracker() {
    "${as_service[@]}" mkdir -p "$run/data/tracker"
    launch tracker "$run/bin/fdfs_trackerd" "$run/etc/tracker.conf" start --foreground
}

start_storage() {
    "${as_service[@]}" mkdir -p "$run/data/storage" "$run/data/store0"
    launch storage "$run/bin/fdfs_storaged" "$run/etc/storage.conf" start --foreground
}

start_worker() {
    local listen processes where user=()
    worker_listen "$1"
    case $listen in
    unix:*) where=(-s "${listen#unix:}" -M 0600) ;;
    *) where=(-a "${listen%:*}" -p "${listen##*:}") ;;
    esac
    [ "$(id -u)" != 0 ] || user=(-u "$service_user" -g "$service_user")
    launch_worker "$1" "$processes" "${where[@]}" "${user[@]}"
}

start_nginx() {
    local nginx=(nginx -e "$run/log/nginx-error.log" -p "$run" -c "$run/etc/nginx.conf")
    logged nginx "${nginx[@]}" -t -q || give_up nginx "does not accept its configuration"
    # Below 1024 only root may listen; then the workers of nginx alone are the service user.
    [ "$site_port" -ge 1024 ] || local as_service=()
    launch nginx "${nginx[@]}" -g 'daemon off;'
}

# Is service $1 answering?
healthy() {
    case $1 in
    mysql) mysql_root -e 'SELECT 1' >/dev/null 2>&1 ;;
    redis) redis-cli -s "$redis_socket" ping 2>/dev/null | grep -q PONG ;;
    memcached) curl -s -m 2 --unix-socket "$memcached_socket" \
        'gopher://localhost/_version%0d%0aquit' 2>/dev/null | grep -q VERSION ;;
    tracker) store_answers "$run_tracker_port" 111 ;; # active test
    storage) store_answers "$run_storage_port" 111 &&
        store_answers "$run_tracker_port" 101 ;; # the tracker knows where to store
    nginx) http_ok / ;;
    *) http_ok "/api/$1/health" ;;
    esac
}

http_ok() {
    local host=$site_host
    case $host in 0.0.0.0 | ::) host=localhost ;; *:*) host="[$host]" ;; esac
    curl -s -f -m 5 -o /dev/null "http://$host:$site_port$1"
}

# Does the daemon on port $1 answer command $2, which has no body, with status 0?
store_answers() {
    local answer
    answer=$({
        exec 3<>"/dev/tcp/127.0.0.1/$1" &&
            printf '\0\0\0\0\0\0\0\0%b\0' "\\x$(printf %x "$2")" >&3 &&
            timeout 5 head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n'
    } 2>/dev/null) || return 1
    [ "${answer:16}" = 6400 ] # response, no error
}

# The inside of a quoted SQL text.
sql_text() {
    local text=${1//\\/\\\\}
    printf %s "${text//\'/\'\'}"
}

# Makes the database and its user as the configuration says; harmless when they exist.
prepare_database() {
    if [ "$database_private" = true ]; then
        local account password
        account="'$(sql_text "$database_user")'@'localhost'"
        password="'$(sql_text "$database_password")'"
        mysql_root <<EOF
CREATE DATABASE IF NOT EXISTS \`$database_name\` CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
CREATE USER IF NOT EXISTS $account IDENTIFIED BY $password;
ALTER USER $account IDENTIFIED BY $password;
GRANT ALL PRIVILEGES ON \`$database_name\`.* TO $account;
EOF
    fi
    logged migrate "$run/bin/fastdisk" migrate ||
        die "the database is not up to date: $(tail -n 5 "$run/log/migrate.log")"
}

# Are all processes of a service there that should be?
complete() {
    is_up "$1" || return 1
    local key=workers_$1_processes
    [ ${#pids[@]} -ge "${!key:-1}" ]
}

start() {
    choose_user
    open_run
    choose_environment
    lock
    trap 'interrupted=yes' INT TERM HUP
    read_settings "$bin_dir/fastdisk" "$conf"
    check_ports
    install_image
    make_secret
    local name started=()
    [ "$database_private" != true ] || bring_up mysql
    prepare_database
    make_admin
    for name in "${services[@]}"; do
        bring_up "$name"
    done
    for name in "${services[@]}"; do
        await "$name" 60 healthy "$name"
    done
    announce
}

# Makes the key that seals secrets in the database, once; without it they cannot be opened.
make_secret() {
    [ ! -s "$site_secret_file" ] || return 0
    [ "$(dirname "$site_secret_file")" = "$run/etc" ] ||
        die "$site_secret_file is missing: make it with \`openssl rand -hex 32\`"
    local fresh=$run/etc/tmp.secret
    (umask 077 && od -An -v -tx1 -N 32 /dev/urandom | tr -d ' \n' >"$fresh")
    [ "$(stat -c %s "$fresh")" = 64 ] || die "could not make $site_secret_file"
    if [ "$(id -u)" = 0 ]; then
        chgrp "$service_user" "$fresh"
        chmod 640 "$fresh"
    fi
    mv "$fresh" "$site_secret_file"
}

# Starts service $1 unless all of it runs, and waits if others cannot do without it.
bring_up() {
    local name=$1
    adopt "$name"
    ! complete "$name" || return 0
    leave_if_interrupted
    case $name in
    mysql | redis | memcached | tracker | storage | nginx) "start_$name" ;;
    *) stop_service "$name" TERM 30 KILL 10 && start_worker "$name" ;;
    esac
    started+=("$name")
    # What comes later needs what came before. The workers answer through nginx.
    case $name in
    mysql) await mysql 120 healthy mysql ;;
    redis | memcached | tracker | storage | nginx) await "$name" 60 healthy "$name" ;;
    esac
}

# Makes the first administrator before the site opens: nobody can register its name first. The
# password waits in a file of ours until it is shown, so that no interruption can lose it.
make_admin() {
    admin=$run/etc/administrator
    [ ! -s "$admin" ] || return 0
    (umask 077 && as_server setsid -w "$run/bin/fastdisk" create-admin >"$admin" 2>"$admin.err") ||
        grep -q 'there is an administrator already' "$admin.err" ||
        warn "there is no administrator yet: $(tail -n 5 "$admin.err")"
    rm -f "$admin.err"
    [ -s "$admin" ] || rm -f "$admin"
}

show_admin() {
    [ -s "$admin" ] || return 0
    say "administrator, shown only this once:"
    sed 's/^/    /' "$admin"
    rm -f "$admin"
}

announce() {
    local url=${site_public_url:-http://$site_host:$site_port}
    url=${url/0.0.0.0/localhost}
    if [ ${#started[@]} = 0 ]; then
        say "already running: $url"
        [ -z "$changed" ] || say "programs or settings have changed since; to use them:" \
            "make stop && make run"
        show_admin
        return 0
    fi
    [ ${#started[@]} = ${#services[@]} ] || say "started ${started[*]}; the others were running"
    say "running: $url"
    show_admin
}

# The other commands --------------------------------------------------------------------------

# Settings as they were at the last start; fails if there was none.
last_settings() {
    case $run in /*) ;; *) run=$PWD/$run ;; esac
    [ -d "$run" ] || return 1
    run=$(realpath "$run")
    own_run
    [ -x "$run/bin/fastdisk" ] || return 1
    read_settings "$run/bin/fastdisk" "$run/etc/fastdisk.toml"
}

stop() {
    last_settings || { say "nothing has been started in $run"; return 0; }
    lock
    local index name some=
    for ((index = ${#services[@]} - 1; index >= 0; index--)); do
        name=${services[index]}
        is_up "$name" && some=yes
        case $name in
        mysql) stop_service mysql TERM 300 ;; # writes out its pages; never cut short
        nginx) stop_service nginx QUIT 10 TERM 5 KILL 5 ;;
        *) stop_service "$name" TERM 30 KILL 10 ;;
        esac
    done
    [ -n "$some" ] || say "nothing was running"
}

status() {
    last_settings || { say "nothing has been started in $run"; return 3; }
    local name state memory where kib pid down=0
    printf '%-10s %-12s %8s %9s  %s\n' SERVICE STATE PID MEMORY LISTENS
    for name in "${services[@]}"; do
        where=
        case $name in
        mysql) where=$database_socket ;;
        redis) where=$redis_socket ;;
        memcached) where=$memcached_socket ;;
        tracker) where=127.0.0.1:$run_tracker_port ;;
        storage) where=127.0.0.1:$run_storage_port ;;
        nginx) where=$site_listen ;;
        *) worker_listen "$name" && where=$listen ;;
        esac
        state=stopped memory=- pid=-
        if is_up "$name"; then
            state=running kib=0
            healthy "$name" || { state='no answer' && down=3; }
            for pid in "${pids[@]}"; do
                kib=$((kib + $(resident_kib "$pid")))
            done
            memory="$((kib / 1024)) MiB" pid=${pids[*]}
        else
            down=3
        fi
        printf '%-10s %-12s %8s %9s  %s\n' "$name" "$state" "$pid" "$memory" "$where"
    done
    return $down
}

resident_kib() {
    awk '/^VmRSS/ { kib = $2 } END { print kib + 0 }' "/proc/$1/status" 2>/dev/null || echo 0
}

logs() {
    [ -d "$run/log" ] || die "nothing has been started in $run"
    exec tail -n 20 -F "$run"/log/*.log
}

clean() {
    stop
    [ -e "$run/.fastdisk" ] || return 0
    rm -rf "$run"
    [ ! -L "$named_run" ] || rm -f "$named_run"
    say "removed $run"
}

while [ $# -gt 1 ]; do
    case $1 in
    --conf) conf=$(realpath -m "$2") ;;
    --run) run=$2 ;;
    --bin-dir) bin_dir=$(realpath -m "$2") ;;
    *) usage ;;
    esac
    shift 2
done
named_run=$run
case ${1:-} in
start | stop | status | logs | clean) "$1" ;;
*) usage ;;
esac
