-- The drive's second half: categories, trash, search, favourites, downloads, shares.
--
-- The rules of 0001 hold. A node in the trash keeps its place (`parent`), so that it can go back;
-- what is below it keeps everything and is found to be gone by looking at what is above it.

ALTER TABLE node
    -- Whole downloads; a range of one that was counted is not counted again.
    ADD COLUMN IF NOT EXISTS downloads BIGINT UNSIGNED NOT NULL DEFAULT 0,
    -- The category of a file that is not itself in the trash.
    ADD COLUMN IF NOT EXISTS live_category TINYINT UNSIGNED
        AS (IF(trashed_ms IS NULL AND kind = 1, category, NULL)) VIRTUAL,
    ADD INDEX IF NOT EXISTS node_by_category (owner, live_category, modified_ms, id),
    ADD INDEX IF NOT EXISTS node_by_type (owner, live_in, kind, category, id);

-- Live files of a user by category, changed in the transaction of what changes them. Live means
-- that neither the file nor anything above it is in the trash.
CREATE TABLE IF NOT EXISTS category_total (
    owner BIGINT UNSIGNED NOT NULL,
    category TINYINT UNSIGNED NOT NULL,
    files BIGINT UNSIGNED NOT NULL,
    bytes BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (owner, category),
    CONSTRAINT category_total_user FOREIGN KEY (owner) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

REPLACE INTO category_total (owner, category, files, bytes)
SELECT owner, category, COUNT(*), SUM(size) FROM node
WHERE kind = 1 AND trashed_ms IS NULL AND category <> 0 GROUP BY owner, category;

-- What was put into the trash, each with its size at that time. `hidden`: not shown to anybody,
-- it is on its way out (purge) or not yet in (a copy under way).
CREATE TABLE IF NOT EXISTS trash (
    node BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    owner BIGINT UNSIGNED NOT NULL,
    hidden BOOLEAN NOT NULL,
    trashed_ms BIGINT UNSIGNED NOT NULL,
    -- When it is purged.
    due_ms BIGINT UNSIGNED NOT NULL,
    -- The names of the folders it was in.
    origin VARBINARY(1024) NOT NULL,
    files BIGINT UNSIGNED NOT NULL,
    bytes BIGINT UNSIGNED NOT NULL,
    KEY trash_page (owner, hidden, trashed_ms, node),
    KEY trash_due (due_ms),
    KEY trash_owner_due (owner, due_ms),
    CONSTRAINT trash_node FOREIGN KEY (node) REFERENCES node (id) ON DELETE CASCADE,
    CONSTRAINT trash_user FOREIGN KEY (owner) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What names are found by, folded to lower case: each distinct pair of neighbours, and alone, with
-- 0, the last character and all that are not ASCII. `gram` is the low 16 bits of both.
CREATE TABLE IF NOT EXISTS name_gram (
    owner BIGINT UNSIGNED NOT NULL,
    gram INT UNSIGNED NOT NULL,
    node BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (owner, gram, node)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Names from before: the same, made by the database.
INSERT IGNORE INTO name_gram (owner, gram, node)
SELECT c.owner, c.code * 65536, c.id
FROM (SELECT n.id, n.owner, s.seq = CHAR_LENGTH(n.folded) AS is_last,
        CONV(HEX(CONVERT(SUBSTRING(n.folded, s.seq, 1) USING utf32)), 16, 10) & 65535 AS code
    FROM (SELECT id, owner, LOWER(CONVERT(name USING utf8mb4)) AS folded FROM node) n
    JOIN seq_1_to_255 s ON s.seq <= CHAR_LENGTH(n.folded)) c
WHERE c.is_last OR 127 < c.code;

INSERT IGNORE INTO name_gram (owner, gram, node)
SELECT n.owner,
    (CONV(HEX(CONVERT(SUBSTRING(n.folded, s.seq, 1) USING utf32)), 16, 10) & 65535) * 65536
    + (CONV(HEX(CONVERT(SUBSTRING(n.folded, s.seq + 1, 1) USING utf32)), 16, 10) & 65535),
    n.id
FROM (SELECT id, owner, LOWER(CONVERT(name USING utf8mb4)) AS folded FROM node) n
JOIN seq_1_to_255 s ON s.seq < CHAR_LENGTH(n.folded);

CREATE TABLE IF NOT EXISTS favourite (
    owner BIGINT UNSIGNED NOT NULL,
    node BIGINT UNSIGNED NOT NULL,
    at_ms BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (owner, node),
    KEY favourite_page (owner, at_ms, node),
    CONSTRAINT favourite_node FOREIGN KEY (node) REFERENCES node (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- When a user last opened a file.
CREATE TABLE IF NOT EXISTS opened (
    owner BIGINT UNSIGNED NOT NULL,
    node BIGINT UNSIGNED NOT NULL,
    at_ms BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (owner, node),
    KEY opened_page (owner, at_ms, node),
    CONSTRAINT opened_node FOREIGN KEY (node) REFERENCES node (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Keys that signed links are made with; the newest signs, the others still verify.
CREATE TABLE IF NOT EXISTS link_key (
    id INT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    secret BINARY(32) NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS share (
    id BINARY(16) NOT NULL PRIMARY KEY,
    -- Orders shares by when they were made.
    seq BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    owner BIGINT UNSIGNED NOT NULL,
    title VARBINARY(255) NOT NULL,
    -- Argon2id, in PHC form; NULL: no code.
    code VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    -- Grows with each change of the code: passes of the old one end.
    code_version INT UNSIGNED NOT NULL DEFAULT 0,
    picture BOOLEAN NOT NULL,
    public BOOLEAN NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    expires_ms BIGINT UNSIGNED NULL,
    download_limit BIGINT UNSIGNED NULL,
    downloads BIGINT UNSIGNED NOT NULL DEFAULT 0,
    views BIGINT UNSIGNED NOT NULL DEFAULT 0,
    saves BIGINT UNSIGNED NOT NULL DEFAULT 0,
    stopped_ms BIGINT UNSIGNED NULL,
    UNIQUE KEY share_seq (seq),
    KEY share_owner (owner, seq),
    KEY share_public (public, seq),
    KEY share_top (public, downloads, seq),
    CONSTRAINT share_user FOREIGN KEY (owner) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS share_node (
    share BINARY(16) NOT NULL,
    node BIGINT UNSIGNED NOT NULL,
    PRIMARY KEY (share, node),
    CONSTRAINT share_node_share FOREIGN KEY (share) REFERENCES share (id),
    CONSTRAINT share_node_node FOREIGN KEY (node) REFERENCES node (id) ON DELETE CASCADE
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- What visitors object to; for the administrators.
CREATE TABLE IF NOT EXISTS share_report (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    share BINARY(16) NOT NULL,
    at_ms BIGINT UNSIGNED NOT NULL,
    address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    reason VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    detail VARBINARY(1024) NOT NULL,
    KEY share_report_share (share, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
