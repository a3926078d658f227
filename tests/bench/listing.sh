#!/usr/bin/env bash
# How long the first page of a folder, of a category and of a search takes, with 10^2 to 10^6
# entries: `listing.sh [MOST]`. Prints the curve and how many statements the database executed for
# a page. Starts a drive of its own from $BIN_DIR (target/release) and removes it.
#
# The entries are rows alone: no listing opens a stored file. One user has them all, a folder for
# each number, so what is measured is the depth of the indexes and nothing else.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=tests/support/drive.sh
. "$root/tests/support/drive.sh"
most=${1:-1000000}
pages=40
work=$(mktemp -d /tmp/fastdisk-listing.XXXXXX)
trap 'exec 9<&- 2>/dev/null || true; drive_stop; rm -rf "$work"' EXIT

export BIN_DIR=${BIN_DIR:-$root/target/release}
drive_start "$work"

sql() {
    mariadb --no-defaults --protocol=socket "--socket=$run/mysql.sock" --user=root -N fastdisk "$@"
}

ask() {
    curl -s -b "$work/jar" -H 'content-type: application/json' "$@"
}

ask -c "$work/jar" -o /dev/null -d '{"name":"lister","password":"a long enough one"}' \
    "$url/api/register"
user=$(sql -e "SELECT id FROM user WHERE name_key = 'lister'")

# A folder with $1 files. Every hundredth is named in Chinese as well.
fill() {
    local folder
    folder=$(ask -d "{\"name\":\"of $1\"}" "$url/api/disk" | sed 's/.*"id":"\([0-9]*\)".*/\1/')
    sql <<EOF
SET SESSION unique_checks = 0, foreign_key_checks = 0;
INSERT INTO node (owner, parent, name, kind, size, category, created_ms, modified_ms)
SELECT $user, $folder, CONCAT(IF(seq % 100 = 0, '假期照片 ', 'holiday '), $1, '-', seq, '.jpg'),
    1, seq * 7919 % 1000003, 1 + seq % 6, 1700000000000 + seq, 1700000000000 + seq * 31 % 999983
FROM seq_1_to_$1;
INSERT IGNORE INTO name_gram (owner, gram, node)
SELECT n.owner, CONV(HEX(CONVERT(SUBSTRING(n.folded, s.seq, 1) USING utf32)), 16, 10) % 65536
        * 65536 + CONV(HEX(CONVERT(SUBSTRING(n.folded, s.seq + 1, 1) USING utf32)), 16, 10) % 65536,
    n.id
FROM (SELECT id, owner, LOWER(CONVERT(name USING utf8mb4)) AS folded FROM node
    WHERE parent = $folder) n JOIN seq_1_to_255 s ON s.seq < CHAR_LENGTH(n.folded);
EOF
    echo "$folder"
}

# Median and 99th percentile in ms of $pages first pages of $1, and statements for one of them.
measure() {
    local before after n
    for ((n = 0; n < pages; n++)); do
        ask -o /dev/null -w '%{time_starttransfer}\n' "$url$1"
    done | sort -n >"$work/times"
    before=$(sql -e "SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'" | cut -f 2)
    ask -o /dev/null "$url$1"
    after=$(sql -e "SHOW GLOBAL STATUS LIKE 'Com_stmt_execute'" | cut -f 2)
    awk -v statements=$((after - before)) '
        { t[NR] = $1 * 1000 }
        END { printf "%7.1f %7.1f  %3d", t[int((NR + 1) / 2)], t[int(NR * 0.99)], statements }' \
        "$work/times"
}

printf '%9s  %-22s %7s %7s  %s\n' ENTRIES PAGE 'P50 ms' 'P99 ms' STATEMENTS
for ((count = 100; count <= most; count *= 10)); do
    folder=$(fill $count)
    for page in "/api/disk/$folder" "/api/disk/$folder?sort=size&order=desc" \
        "/api/disk/$folder?sort=modified" "/api/disk/$folder?sort=type" "/api/category/image" \
        "/api/list" "/api/mydisk/search?q=holiday" "/api/mydisk/search?q=%E7%85%A7%E7%89%87" \
        "/api/mydisk/search?q=$count-77"; do
        name=${page#/api/}
        name=${name/disk\/$folder/disk/N}
        printf '%9d  %-22s %s\n' "$count" "${name:0:22}" "$(measure "$page")"
    done
done
