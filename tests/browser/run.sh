#!/usr/bin/env bash
# The browser tests: checks the pages' types and rules, starts a drive of its own, drives Debian's
# Chromium through every flow, and ends with one line of totals.
#
#   tests/browser/run.sh [check | accept [URL] | WORD...]
#
# `check` is types and lint alone; `accept` is the large upload alone; a WORD picks tests by name.
# Programs come from $BIN_DIR, by default target/debug (tests/support/serve-stack.sh). $URL names
# a site that is up already. Pictures of every view are left in target/screenshots.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

for tool in node npm "${CHROMIUM:-chromium}"; do
    command -v "$tool" >/dev/null || {
        echo "browser tests: $tool is missing; \`make deps-test\` installs it" >&2
        exit 1
    }
done

# Installed once per version of the lock file; two runs in one checkout take turns.
exec 9>.lock
flock 9
if ! cmp -s package-lock.json node_modules/.installed; then
    npm ci --omit=optional --no-audit --no-fund --ignore-scripts --loglevel=error >/dev/null
    cp package-lock.json node_modules/.installed
fi
exec 9>&-

case ${1:-} in
check) npm run --silent check ;;
accept) shift && exec node accept.mjs "$@" ;;
*)
    npm run --silent check
    exec node run.mjs "$@"
    ;;
esac
