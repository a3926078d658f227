#!/usr/bin/env bash
# What schemathesis makes of www/openapi.json, asked of a running drive: `run.sh [SECONDS]`.
#
# A third of the time each as an administrator, as a user and as nobody. No answer may be a 5xx or
# one that the document does not have: status, type, headers, shape of the body, methods. What is
# left out stands in schemathesis.toml with the reason; besides, live events, which never end.
# Run by name only, as `make test-schema`; SEED chooses what is tried, TIME the seconds. What went
# wrong is kept in target/schema. The drive's programs come from $BIN_DIR, by default target/debug.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/drive.sh
. "$root/tests/support/drive.sh"
here=$root/tests/schema
seconds=${1:-${TIME:-600}}
seed=${SEED:-1}
kept=$root/target/schema
work=$(mktemp -d /tmp/fastdisk-schema.XXXXXX)

finish() {
    drive_stop
    rm -rf "$work"
}
trap finish EXIT

mkdir -p "$kept"
python=$kept/python/bin/python
[ -x "$python" ] || python3 -m venv "$kept/python"
"$python" -m pip install --quiet --disable-pip-version-check --retries 2 --timeout 10 \
    --require-hashes --only-binary :all: --requirement "$here/requirements.txt"

# Everything comes from one address.
drive_start "$work" \
    's/^\(login_failures[a-z_]*_max\) = .*/\1 = 1_000_000/' \
    's/^\(token_failures[a-z_]*_max\) = .*/\1 = 1_000_000/' \
    's/^\(second_factors[a-z_]*_max\) = .*/\1 = 1_000_000/' \
    's/^\(registrations[a-z_]*_max\) = .*/\1 = 1_000_000/'
console="$run/bin/fastdisk --conf $run/etc/fastdisk.toml --run $run"

# Somebody with files and a share, so that there is something to find.
name=schema
password='a long enough one'
ask() {
    curl -s -S -f -b "$work/jar" -c "$work/jar" -o /dev/null "$@"
}
ask -H 'content-type: application/json' "$url/api/register" \
    -d "{\"name\":\"$name\",\"password\":\"$password\"}"
for file in one two three; do
    ask -T "$here/run.sh" "$url/api/upload/$file.txt"
done
ask -H 'content-type: application/json' -d '{"name":"folder"}' "$url/api/disk"

# The run of one person, and whether nothing is wrong; its last words are shown.
passed=0 failed=0
as() { # label, name, password
    local label=$1 who=()
    [ -z "$2" ] || who=("NAME=$2" "PASSWORD=$3" "URL=$url" "RESET=$console reset-password $2")
    if (cd "$kept" && env SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$here" PYTHONDONTWRITEBYTECODE=1 \
        ${who[@]+"${who[@]}"} \
        "${python%python}schemathesis" --config-file "$here/schemathesis.toml" --no-color \
        run "$root/www/openapi.json" --url "$url" --seed "$seed" --request-timeout 30 \
        --max-time $((seconds / 3)) --continue-on-failure --generation-database none \
        --exclude-operation-id events) >"$kept/$label.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        # A trace of Python may hold whole files.
        cut -c 1-300 "$kept/$label.log" | sed -n '/^=.* \(ERRORS\|FAILURES\) =/,$p'
    fi
    sed -n "s/^  \([0-9]* generated\)/schema: as $label: \1/p" "$kept/$label.log"
}

echo "schema: SEED=$seed, $seconds s; left out: GET /api/events, and what schemathesis.toml says"
as administrator admin "$(sed -n 's/^admin=.*password: *\([^ ]*\).*/\1/p' "$facts")"
as user "$name" "$password"
as nobody '' ''
[ $failed = 0 ] || drive_keep
echo "$passed passed, $failed failed, 0 skipped"
[ $failed = 0 ]
