#!/usr/bin/env bash
# Starts one FastCGI worker under systemd: asks the configuration where it listens, then becomes
# spawn-fcgi, which becomes the worker. Called by fastdisk-worker@.service; one process each, for
# more of them `[workers.NAME] processes` is a matter of conf/stack.sh.
set -euo pipefail

bin=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../bin" && pwd)
name=$1
settings=$("$bin/fastdisk" config)
eval "$settings"
listen=workers_${name}_listen
case ${!listen} in
unix:*) where=(-s "${!listen#unix:}" -M 0660) ;;
*) where=(-a "${!listen%:*}" -p "${!listen##*:}") ;;
esac
exec spawn-fcgi -n "${where[@]}" -- "$bin/$name"
