#!/usr/bin/env bash
# The installed image of a run directory: programs, pages, and every configuration file with its
# @NAMES@ filled in. Read by `conf/stack.sh`, which has read the settings; starts nothing.
# shellcheck shell=bash disable=SC2154,SC2034

# Replaces $2 by $1 if they differ; a running program keeps the file it was started from.
put() {
    cmp -s "$1" "$2" && return 0
    cp "$1" "$2.new"
    chmod "${3:-640}" "$2.new"
    [ "$(id -u)" != 0 ] || chgrp "$service_user" "$2.new"
    mv -f "$2.new" "$2"
    changed=yes
}

install_image() {
    local name module=$bin_dir/libngx_fastdfs_module.so
    changed=
    for name in fastdisk thumbnail fdfs_trackerd fdfs_storaged $workers; do
        [ -x "$bin_dir/$name" ] || die "$bin_dir/$name is missing: build it first (make build)"
        put "$bin_dir/$name" "$run/bin/$name" 750
    done
    [ -f "$module" ] || die "$module is missing: build it first (make nginx)"
    put "$module" "$run/lib/libngx_fastdfs_module.so"
    put "$conf" "$run/etc/fastdisk.toml"
    put "$root/nginx/fastcgi.conf" "$run/etc/fastcgi.conf"
    rm -rf "$run/lib/www.new"
    cp -R "$root/www" "$run/lib/www.new"
    chmod -R u=rwX,g=rX,o= "$run/lib/www.new"
    [ "$(id -u)" != 0 ] || chgrp -R "$service_user" "$run/lib/www.new"
    rm -rf "$run/www"
    mv "$run/lib/www.new" "$run/www"
    render_all
}

# Fills in the @NAMES@ of template $1, given as NAME=VALUE after the target $2.
render() {
    local text target=$2 pair
    text=$(grep -v '^#' "$1")
    shift 2
    for pair in "$@"; do
        text=${text//"@${pair%%=*}@"/${pair#*=}}
    done
    [[ ! $text =~ @[A-Z_]+@ ]] || die "nothing fills in ${BASH_REMATCH[0]} of $target"
    printf '%s\n' "$text" >"$run/etc/tmp.render"
    put "$run/etc/tmp.render" "$target"
    rm -f "$run/etc/tmp.render"
}

# Copies configuration $1 to $2 with keys replaced, given as KEY=VALUE.
set_keys() {
    local target=$2 pair
    cp "$1" "$run/etc/tmp.keys"
    shift 2
    for pair in "$@"; do
        sed -i -E "/^[# ]*${pair%%=*} *=/d" "$run/etc/tmp.keys"
    done
    # In front: behind the last line they would belong to its section.
    printf '%s\n' "$@" | cat - "$run/etc/tmp.keys" >"$run/etc/tmp.keys.new"
    mv "$run/etc/tmp.keys.new" "$run/etc/tmp.keys"
    put "$run/etc/tmp.keys" "$target"
    rm -f "$run/etc/tmp.keys"
}

render_all() {
    local etc=$run/etc name ups=() tracker="tracker_server=127.0.0.1:$run_tracker_port"
    render "$here/mariadb.cnf" "$etc/mariadb.cnf" "RUN=$run" \
        "DATABASE_SOCKET=${database_socket:-}"
    render "$here/redis.conf" "$etc/redis.conf" "RUN=$run" "REDIS_SOCKET=${redis_socket:-}"
    set_keys "$here/tracker.conf" "$etc/tracker.conf" "port=$run_tracker_port" \
        bind_addr=127.0.0.1 "base_path=$run/data/tracker"
    set_keys "$here/storage.conf" "$etc/storage.conf" "port=$run_storage_port" \
        bind_addr=127.0.0.1 "group_name=${store_group:-group1}" "base_path=$run/data/storage" \
        store_path_count=1 "store_path0=$run/data/store0" "$tracker"
    local lines=() address
    for address in $store_trackers; do
        lines+=("tracker_server=$address")
    done
    set_keys "$here/client.conf" "$etc/client.conf" "${lines[@]}"
    for name in $workers; do
        worker_listen "$name"
        ups+=("UP_${name^^}=$listen")
    done
    local real_ip="" proxy
    for proxy in $site_trusted_proxies; do
        real_ip+="set_real_ip_from $proxy; "
    done
    [ -z "$real_ip" ] || real_ip+="real_ip_header X-Forwarded-For; real_ip_recursive on;"
    local user_line=
    [ "$(id -u)" != 0 ] || [ "$site_port" -ge 1024 ] || user_line="user $service_user;"
    render "$root/nginx/nginx.conf" "$etc/nginx.conf" "USER_LINE=$user_line" "RUN=$run" \
        "MODULE=$run/lib/libngx_fastdfs_module.so" "LISTEN=$site_listen" "WWW=$run/www" \
        MIME=/etc/nginx/mime.types "FASTCGI=$etc/fastcgi.conf" "GROUP=${store_group:-group1}" \
        "MEMCACHED=$memcached_socket" \
        "STORE_PATHS=fastdfs_store_path $run/data/store0;" "REAL_IP=$real_ip" "${ups[@]}"
}
