-- Identity keys of devices.
CREATE TABLE device_keys (
    user_nid BIGINT NOT NULL,
    -- The device's ID in UTF-8.
    device BYTEA NOT NULL,
    -- Log position of the upload.
    position BIGINT NOT NULL,
    -- Canonical JSON as the device uploaded it, with its own signature, without `unsigned`.
    json BYTEA NOT NULL,
    PRIMARY KEY (user_nid, device)
);
