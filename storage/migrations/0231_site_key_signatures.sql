-- Signatures of sites under the document that tells this server's keys to others: each site adds those of all.
CREATE TABLE site_key_signatures (
    -- Until when the document that is signed is valid: milliseconds since 1970.
    valid_until BIGINT NOT NULL,
    -- The key that signed.
    key_id TEXT NOT NULL,
    -- Unpadded Base64.
    signature TEXT NOT NULL,
    PRIMARY KEY (valid_until, key_id)
);
