#!/usr/bin/env bash
# Installs what `make build` and `make nginx` made: `install.sh DESTDIR PREFIX`. Called by
# `make install`. Starts nothing, makes no user, and overwrites no settings: samples go to
# PREFIX/share/fastdisk, from where an operator copies them to /etc/fastdisk.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
prefix=$2
to=$1$2
built=$root/target/release

for program in "$root"/src/bin/*.rs; do
    name=$(basename "$program" .rs)
    install -D -m 755 "$built/$name" "$to/bin/$name"
done
install -D -m 755 "$root/conf/worker.sh" "$to/lib/fastdisk/worker"
install -D -m 644 "$built/libngx_fastdfs_module.so" "$to/lib/fastdisk/libngx_fastdfs_module.so"
for file in fastdisk.toml tracker.conf storage.conf client.conf redis.conf mariadb.cnf; do
    install -D -m 644 "$root/conf/$file" "$to/share/fastdisk/conf/$file"
done
for file in nginx.conf fastcgi.conf; do
    install -D -m 644 "$root/nginx/$file" "$to/share/fastdisk/nginx/$file"
done
mkdir -p "$to/share/fastdisk/www" "$to/lib/systemd/system"
cp -R "$root/www/." "$to/share/fastdisk/www"
for unit in "$root"/conf/systemd/*.service; do
    sed "s|@PREFIX@|$prefix|g" "$unit" >"$to/lib/systemd/system/$(basename "$unit")"
done
echo "installed below $to; see \"Deploy\" in README.md for the next steps"
