-- Second factors, API tokens, settings, resumable uploads.
--
-- Same rules as the file before: run once, never edited, every statement harmless when repeated.

-- What somebody chose for themselves; no row means the defaults.
CREATE TABLE IF NOT EXISTS user_setting (
    user BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    -- 0 as the system says, 1 light, 2 dark.
    theme TINYINT UNSIGNED NOT NULL,
    CONSTRAINT user_setting_user FOREIGN KEY (user) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Time-based one-time passwords (RFC 6238): one secret a user, sealed with a key that is not in
-- the database.
CREATE TABLE IF NOT EXISTS second_factor (
    user BIGINT UNSIGNED NOT NULL PRIMARY KEY,
    sealed VARBINARY(128) NOT NULL,
    -- NULL: enrolled and not confirmed, so not in force.
    confirmed_ms BIGINT UNSIGNED NULL,
    -- The last time step whose code was used: a code is good once.
    step BIGINT UNSIGNED NOT NULL,
    CONSTRAINT second_factor_user FOREIGN KEY (user) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Each good once: using one removes it. Hashes only.
CREATE TABLE IF NOT EXISTS recovery_code (
    user BIGINT UNSIGNED NOT NULL,
    hash BINARY(32) NOT NULL,
    PRIMARY KEY (user, hash),
    CONSTRAINT recovery_code_user FOREIGN KEY (user) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

CREATE TABLE IF NOT EXISTS api_token (
    id BIGINT UNSIGNED NOT NULL AUTO_INCREMENT PRIMARY KEY,
    user BIGINT UNSIGNED NOT NULL,
    name VARBINARY(255) NOT NULL,
    -- SHA-256 of the token: what is stored cannot be used as one.
    hash BINARY(32) NOT NULL,
    -- Bits: 1 read, 2 write, 4 share, 8 metrics.
    scopes TINYINT UNSIGNED NOT NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    expires_ms BIGINT UNSIGNED NULL,
    used_ms BIGINT UNSIGNED NULL,
    UNIQUE KEY api_token_hash (hash),
    KEY api_token_user (user, id),
    CONSTRAINT api_token_owner FOREIGN KEY (user) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;

-- Resumable uploads. Offset and state of the hashes change together, in one statement, so that
-- a worker that dies leaves a row from which any other can go on.
CREATE TABLE IF NOT EXISTS upload (
    id BINARY(16) NOT NULL PRIMARY KEY,
    owner BIGINT UNSIGNED NOT NULL,
    -- The reservation; NULL once the file is complete.
    blob_id BIGINT UNSIGNED NULL,
    parent BIGINT UNSIGNED NULL,
    -- Folders below the parent, with slashes between.
    path VARBINARY(4096) NOT NULL,
    name VARBINARY(255) NOT NULL,
    -- 0 fail, 1 rename, 2 replace.
    conflict TINYINT UNSIGNED NOT NULL,
    size BIGINT UNSIGNED NOT NULL,
    metadata VARBINARY(8192) NOT NULL,
    want_sha256 BINARY(32) NULL,
    -- The appender in the store; NULL before the first byte and after the last.
    file_id VARCHAR(255) CHARACTER SET ascii COLLATE ascii_bin NULL,
    received BIGINT UNSIGNED NOT NULL,
    hashes VARBINARY(512) NOT NULL,
    -- The first bytes, which tell the media type.
    head VARBINARY(4096) NOT NULL,
    -- Who is writing now, and until when that holds without a sign of life.
    lease BIGINT UNSIGNED NOT NULL,
    lease_ms BIGINT UNSIGNED NOT NULL,
    -- The file, once it is complete.
    node BIGINT UNSIGNED NULL,
    created_ms BIGINT UNSIGNED NOT NULL,
    expires_ms BIGINT UNSIGNED NOT NULL,
    KEY upload_owner (owner, created_ms),
    KEY upload_blob (blob_id),
    KEY upload_expires (expires_ms),
    CONSTRAINT upload_user FOREIGN KEY (owner) REFERENCES user (id)
) ENGINE = InnoDB DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_bin;
