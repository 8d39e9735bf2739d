-- Users' cross-signing keys.
CREATE TABLE cross_signing_keys (
    user_nid BIGINT NOT NULL,
    -- 1 master, 2 self-signing, 3 user-signing.
    usage SMALLINT NOT NULL,
    -- The public key in unpadded Base64: with devices' IDs one space of names.
    public_key BYTEA NOT NULL,
    -- Log position of the upload.
    position BIGINT NOT NULL,
    -- Canonical JSON as the user uploaded it, without `unsigned`.
    json BYTEA NOT NULL,
    PRIMARY KEY (user_nid, usage)
);

-- Signatures that were uploaded after the key that they sign.
CREATE TABLE key_signatures (
    -- Whose key is signed.
    user_nid BIGINT NOT NULL,
    -- The signed key: a device's ID or a cross-signing public key.
    target BYTEA NOT NULL,
    -- Who signed. Signatures of others are shown to the signer alone.
    signer_nid BIGINT NOT NULL,
    -- The key that signed, with algorithm: `ed25519:...`.
    signing_key BYTEA NOT NULL,
    signature BYTEA NOT NULL,
    -- Log position of the upload.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, target, signer_nid, signing_key)
);
