#!/usr/bin/env bash
# Builds the download module for the nginx that is installed on this machine.
#
#   nginx/module/build.sh [debug|release]   -> target/<profile>/libngx_fastdfs_module.so
#   nginx/module/build.sh cargo ARGS...     any cargo command with the same environment,
#                                           e.g. `cargo clippy -p ngx_fastdfs_module`
#
# nginx loads a module only if both were configured alike, so Debian's headers (package
# nginx-dev) are configured with the flags the installed nginx reports about itself. That is
# done once, and again when nginx changes. Nothing outside the target directory is written.
set -euo pipefail

die() {
    echo "build.sh: $*" >&2
    exit 1
}

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
packaged=${NGINX_DEV_SRC:-/usr/share/nginx/src}
nginx=${NGINX:-$(PATH=$PATH:/usr/sbin:/usr/local/sbin command -v nginx || true)}

[ -n "$nginx" ] || die "nginx is not installed (apt-get install nginx)"
[ -f "$packaged/configure" ] || die "no nginx sources in $packaged (apt-get install nginx-dev)"
[ -n "${LIBCLANG_PATH:-}" ] || compgen -G '/usr/lib/llvm-*/lib/libclang*.so*' >/dev/null ||
    die "libclang is missing (apt-get install libclang-dev)"

# Configures a copy of the sources, unless the copy we have was made for this very nginx.
configure() {
    local about stamp fresh flags
    about=$("$nginx" -V 2>&1; cksum <"$packaged/src/core/nginx.h")
    stamp=$target/nginx-src/configured-for
    [ "$(cat "$stamp" 2>/dev/null || true)" != "$about" ] || return 0

    echo "configuring nginx's sources in $target/nginx-src"
    # Modules that are themselves loaded need libraries of their own and do not change the
    # core's structures. `xargs` undoes the quoting of the report without evaluating it.
    mapfile -t flags < <(printf '%s\n' "$about" | sed -n 's/^configure arguments: //p' |
        xargs printf '%s\n' | grep -v '=dynamic$')
    mkdir -p "$target"
    fresh=$(mktemp -d "$target/nginx-src.XXXXXX")
    cp -RL "$packaged/." "$fresh"
    if ! (cd "$fresh" && ./configure "${flags[@]}" >configure.log 2>&1); then
        tail -n 20 "$fresh/configure.log" >&2
        rm -rf "$fresh"
        die "nginx's configure failed (is nginx-dev complete? apt-get install nginx-dev)"
    fi
    printf '%s\n' "$about" >"$fresh/configured-for"
    rm -rf "$target/nginx-src"
    mv "$fresh" "$target/nginx-src"
}

# Asks nginx itself whether it would load what was built.
loads() {
    local scratch report
    scratch=$(mktemp -d)
    printf 'load_module "%s";\nerror_log stderr;\npid "%s/pid";\nevents {}\n' "$1" "$scratch" \
        >"$scratch/nginx.conf"
    if ! report=$("$nginx" -t -q -p "$scratch" -c "$scratch/nginx.conf" 2>&1); then
        rm -rf "$scratch"
        die "$nginx does not load $1: $report"
    fi
    rm -rf "$scratch"
}

configure
export NGINX_SOURCE_DIR=$target/nginx-src NGINX_BUILD_DIR=$target/nginx-src/objs

case ${1:-debug} in
debug)
    cargo build -p ngx_fastdfs_module
    loads "$target/debug/libngx_fastdfs_module.so"
    ;;
release)
    cargo build -p ngx_fastdfs_module --release
    loads "$target/release/libngx_fastdfs_module.so"
    ;;
cargo)
    shift
    cargo "$@"
    ;;
*) die "usage: build.sh [debug|release] | build.sh cargo ARGS..." ;;
esac
