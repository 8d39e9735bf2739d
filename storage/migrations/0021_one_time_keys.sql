-- Keys that are given out once. A backup leaves this table out: a restored pool would be given out again.
CREATE TABLE one_time_keys (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    algorithm BYTEA NOT NULL,
    -- The part of the key's name behind the algorithm.
    key_id BYTEA NOT NULL,
    -- Log position of the upload: keys are given out in this order.
    position BIGINT NOT NULL,
    -- Canonical JSON of the key: a string or an object.
    json BYTEA NOT NULL,
    PRIMARY KEY (user_nid, device, algorithm, key_id)
);
CREATE INDEX one_time_keys_by_age ON one_time_keys (user_nid, device, algorithm, position);

-- The newest keys that were given out: an upload repeated after its answer was lost must not bring them back.
CREATE TABLE claimed_keys (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    -- SHA-256 over algorithm, key ID and JSON.
    digest BYTEA NOT NULL,
    -- Log position of the claim.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, device, digest)
);

-- Keys given out, again and again, when no one-time key is left.
CREATE TABLE fallback_keys (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    algorithm BYTEA NOT NULL,
    key_id BYTEA NOT NULL,
    -- Log position of the upload.
    position BIGINT NOT NULL,
    -- 1 once it was given out.
    used SMALLINT NOT NULL,
    json BYTEA NOT NULL,
    PRIMARY KEY (user_nid, device, algorithm)
);
