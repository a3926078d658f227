-- Accounts, contents, folders and files.
--
-- Run by the workers and `fastdisk migrate`, once; never edited after a release: its checksum is
-- kept in schema_version. A crash in the middle runs it again from the start, so every statement
-- must be harmless when repeated. Statements end with a semicolon at the end of a line.
-- Times are Unix milliseconds. Names are bytes: two that differ in any byte, a final blank
-- included, are different; the character collations of neither MariaDB nor MySQL promise that.

CREATE TABLE IF NOT EXISTS user (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    name VARBINARY(255) NOT NULL,
    -- The name folded: nobody may look like somebody else by writing Bob for bob.
    name_key VARBINARY(255) NOT NULL,
    nickname VARBINARY(255) NOT NULL,
    -- Argon2id, in PHC form.
    password VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    email VARBINARY(255) NULL,
    -- 0 user, 1 administrator.
    role TINYINT UNSIGNED NOT NULL,
    quota_bytes BIGINT UNSIGNED NOT NULL,
    used_bytes BIGINT UNSIGNED NOT NULL,
    locale VARCHAR(16) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    disabled_ms BIGINT UNSIGNED NULL,
    UNIQUE KEY user_name (name_key),
    KEY user_role (role)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- One row per stored content. While its bytes arrive a row is `storing`: it belongs to one user,
-- counts against that user's quota, has no hash yet, and is swept when it is no longer touched.
CREATE TABLE IF NOT EXISTS `blob` (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    sha256 BINARY(32) NULL,
    md5 BINARY(16) NULL,
    size BIGINT UNSIGNED NOT NULL,
    file_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    media_type VARCHAR(127) CHARACTER SET ascii COLLATE ascii_bin NULL,
    refcount BIGINT UNSIGNED NOT NULL,
    state ENUM('storing', 'live') NOT NULL,
    storing_for BIGINT UNSIGNED NULL,
    touched_ms BIGINT UNSIGNED NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    UNIQUE KEY blob_hash (sha256, size),
    KEY blob_md5 (md5),
    KEY blob_storing (storing_for, touched_ms),
    KEY blob_state (state, touched_ms),
    CONSTRAINT blob_user FOREIGN KEY (storing_for) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS node (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    owner BIGINT UNSIGNED NOT NULL,
    -- NULL: in the user's root folder.
    parent BIGINT UNSIGNED NULL,
    name VARBINARY(255) NOT NULL,
    -- 0 folder, 1 file: folders come first in every listing.
    kind TINYINT UNSIGNED NOT NULL,
    blob_id BIGINT UNSIGNED NULL,
    size BIGINT UNSIGNED NOT NULL,
    -- 0 none (folder), 1 image, 2 video, 3 audio, 4 document, 5 archive, 6 other.
    category TINYINT UNSIGNED NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    modified_ms BIGINT UNSIGNED NOT NULL,
    trashed_ms BIGINT UNSIGNED NULL,
    -- The folder a live node is in, 0 for the root; NULL in the trash, which frees the name.
    live_in BIGINT UNSIGNED AS (IF(trashed_ms IS NULL, IFNULL(parent, 0), NULL)) VIRTUAL,
    -- What people expect when they sort by name.
    name_order VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_520_ci
        AS (CONVERT(name USING utf8mb4)) VIRTUAL,
    UNIQUE KEY node_name (owner, live_in, name),
    KEY node_by_name (owner, live_in, kind, name_order, id),
    KEY node_by_size (owner, live_in, kind, size, id),
    KEY node_by_time (owner, live_in, kind, modified_ms, id),
    CONSTRAINT node_owner FOREIGN KEY (owner) REFERENCES user (id),
    CONSTRAINT node_parent FOREIGN KEY (parent) REFERENCES node (id),
    CONSTRAINT node_blob FOREIGN KEY (blob_id) REFERENCES `blob` (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Stored files that no content needs any more; removed from the store after the commit.
CREATE TABLE IF NOT EXISTS garbage (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    file_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    tries INT UNSIGNED NOT NULL,
    due_ms BIGINT UNSIGNED NOT NULL,
    KEY garbage_due (due_ms)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Who did what, from where; only ever appended to, so it names users and nodes without binding.
CREATE TABLE IF NOT EXISTS audit (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    at_ms BIGINT UNSIGNED NOT NULL,
    actor BIGINT UNSIGNED NULL,
    action VARCHAR(32) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    node BIGINT UNSIGNED NULL,
    address VARCHAR(45) CHARACTER SET ascii COLLATE ascii_bin NOT NULL,
    detail VARBINARY(1024) NOT NULL,
    KEY audit_actor (actor, id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
