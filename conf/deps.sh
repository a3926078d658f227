#!/usr/bin/env bash
# Installs the Debian packages that are missing: `deps.sh run` for `make run`, `deps.sh test`
# for `make test`. Called by the Makefile. Never starts, stops or reconfigures a service: what
# nginx, Redis and Memcached bring along stays off unless it was there before.
set -euo pipefail

# The databases come without Debian's own services: `-core` is the programs alone.
for_build=(gcc libc6-dev make nginx nginx-dev libclang-dev)
for_run=(mariadb-server-core mariadb-client-core redis-server memcached spawn-fcgi curl util-linux)
# The font: pictures of the pages. unzip: archives are read by somebody else.
for_test=(libfcgi-dev wrk strace valgrind libc6-dbg unzip shellcheck fonts-wqy-microhei)
for_crash=(e2fsprogs xfsprogs g++) # file systems to lose power on; the fuzzer's engine is C++
for_faults=(libfaketime iproute2) # clocks that are wrong, networks that are cut
for_clients=(python3 python3-venv) # FastDFS clients of PyPI; those of npm need what the pages do
policy=/usr/sbin/policy-rc.d

say() {
    echo "deps: $*"
}

die() {
    echo "deps: $*" >&2
    exit 1
}

as_root() {
    if [ "$(id -u)" = 0 ]; then
        env DEBIAN_FRONTEND=noninteractive "$@"
    else
        sudo env DEBIAN_FRONTEND=noninteractive "$@"
    fi
}

has() {
    PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null 2>&1
}

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true)" = installed ]
}

# The packages of a list that are not installed, on one line.
missing() {
    local package
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

# A package may not start its service while it is installed: invoke-rc.d asks this file.
guard() {
    [ ! -e "$policy" ] || return 0
    # shellcheck disable=SC2016 # the file is a script of its own
    as_root sh -c 'printf "#!/bin/sh\nexit 101\n" >"$1" && chmod 755 "$1"' sh "$policy"
    trap 'as_root rm -f "$policy"' EXIT
}

# A service that came with a package of ours must not take a port at the next boot either.
keep_off() {
    local package unit
    [ -d /run/systemd/system ] || return 0
    for package in "$@"; do
        for unit in nginx redis-server memcached; do
            [ "$unit" != "$package" ] || as_root systemctl --quiet disable --now "$unit"
        done
    done
}

install() {
    local apt=(apt-get -q -o "DPkg::Lock::Timeout=600") list=("$@")
    say "installing ${list[*]}"
    [ "$(id -u)" = 0 ] || has sudo ||
        die "run this once as root, or install sudo: apt-get install ${list[*]}"
    guard
    compgen -G '/var/lib/apt/lists/*Packages*' >/dev/null || as_root "${apt[@]}" update </dev/null
    if ! as_root "${apt[@]}" install -y --no-install-recommends "${list[@]}" </dev/null; then
        say "the package lists may be old: updating them once"
        as_root "${apt[@]}" update </dev/null
        as_root "${apt[@]}" install -y --no-install-recommends "${list[@]}" </dev/null
    fi
    keep_off "${list[@]}"
}

case ${1:-} in
run) wanted=("${for_build[@]}" "${for_run[@]}") ;;
test)
    wanted=("${for_build[@]}" "${for_run[@]}" "${for_test[@]}" "${for_crash[@]}"
        "${for_faults[@]}")
    # A Python from elsewhere brings its own pip and venv.
    python3 -c 'import ensurepip, venv' 2>/dev/null || wanted+=("${for_clients[@]}")
    has chromium || has google-chrome || wanted+=(chromium)
    # A node from elsewhere brings its own npm; Debian's would fight with it.
    has node || wanted+=(nodejs)
    has npm || wanted+=(npm)
    ;;
*) die "usage: deps.sh run|test" ;;
esac

has dpkg-query || die "this needs Debian or Ubuntu; install what they call: ${wanted[*]}"
read -ra lacking <<<"$(missing "${wanted[@]}")" || true
[ ${#lacking[@]} = 0 ] || install "${lacking[@]}"
has cargo || [ -x "$HOME/.cargo/bin/cargo" ] ||
    die "Rust is missing: install it from https://rustup.rs, then run this again"
