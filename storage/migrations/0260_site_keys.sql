-- With which keys the sites of this organisation sign, and signed.

-- The keys of the other sites that the configuration named last: what is missing from it next time was taken out.
CREATE TABLE site_keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    -- The public key, unpadded Base64.
    verify_key TEXT NOT NULL
);

-- Keys of sites that are none any more: events that they signed stay good.
CREATE TABLE old_site_keys (
    key_id TEXT NOT NULL PRIMARY KEY,
    -- The public key, unpadded Base64.
    verify_key TEXT NOT NULL,
    -- What is signed after this moment is not good: milliseconds since 1970.
    expired_ts BIGINT NOT NULL
);
