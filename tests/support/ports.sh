#!/usr/bin/env bash
# Leases TCP ports to a test: no two checkouts get the same ones, and no server that is up has
# them. `ports.sh N` prints N ports on one line and holds them until its input ends; read into a
# script it offers `lease_ports`.
set -euo pipefail

# Blocks of 20, above what servers of ours use by default and below the ports that the kernel
# hands to outgoing connections.
leases=/tmp/fastdisk-ports
block_first=25000
block_last=32740
block_size=20

# Is somebody listening on port $1, on whatever address?
listening() {
    cat /proc/net/tcp /proc/net/tcp6 2>/dev/null |
        awk -v port="$(printf %04X "$1")" '
            $4 == "0A" { split($2, local, ":"); if (local[2] == port) found = 1 }
            END { exit !found }'
}

# Puts $1 ports into `ports`; the lease lasts as long as this process and its children.
lease_ports() {
    [ "$1" -le $block_size ] || { echo "ports: at most $block_size" >&2; return 1; }
    local block port lock blocks=$(((block_last - block_first) / block_size + 1)) try
    [ -d $leases ] || mkdir -m 1777 $leases 2>/dev/null || [ -d $leases ]
    for ((try = 0; try < blocks; try++)); do
        block=$((block_first + (($$ + try) % blocks) * block_size))
        { exec {lock}>>"$leases/$block"; } 2>/dev/null || continue
        chmod 666 "$leases/$block" 2>/dev/null || true
        ports=()
        if flock -n "$lock"; then
            for ((port = block; port < block + block_size && ${#ports[@]} < $1; port++)); do
                listening $port || ports+=("$port")
            done
            [ ${#ports[@]} -lt "$1" ] || return 0
        fi
        exec {lock}>&-
    done
    echo "ports: no free block of ports in $leases" >&2
    return 1
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    lease_ports "${1:-1}"
    echo "${ports[*]}"
    cat >/dev/null # until whoever asked goes away
fi
