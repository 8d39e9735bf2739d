-- Other servers' key documents as they published them, for those who ask us as a notary.
CREATE TABLE server_key_documents (
    -- Whose keys.
    server_name TEXT NOT NULL,
    -- SHA-256 of the document.
    digest BYTEA NOT NULL,
    -- The JSON with its own server's signatures, and nobody else's.
    document BYTEA NOT NULL,
    -- When it came last, in milliseconds since 1970.
    fetched_at BIGINT NOT NULL,
    -- Until when it speaks for its server: never more than seven days after fetched_at.
    valid_until BIGINT NOT NULL,
    PRIMARY KEY (server_name, digest)
);

-- The keys in those documents, one row per key that a server ever showed us.
CREATE TABLE server_keys (
    server_name TEXT NOT NULL,
    -- Like ed25519:a_AbCd.
    key_id TEXT NOT NULL,
    -- The public key, 32 bytes.
    verify_key BYTEA NOT NULL,
    -- Signatures made later than this do not count; for a key out of use, when that happened.
    valid_until BIGINT NOT NULL,
    -- 1 if its server uses the key no more: it verifies old events and no requests, and is never extended.
    is_old SMALLINT NOT NULL,
    -- The document that says so.
    digest BYTEA NOT NULL,
    PRIMARY KEY (server_name, key_id)
);
