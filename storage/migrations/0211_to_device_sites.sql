-- Messages to devices, on several sites: each is named by the log of the site that took it and its place there.

-- The log of the site that took the message (a name); NULL: this one's, and the place is `position`.
ALTER TABLE to_device_inbox ADD COLUMN log BIGINT;
-- Its position there.
ALTER TABLE to_device_inbox ADD COLUMN log_position BIGINT;

-- What of each site's messages a device has, through whichever site it got them.
CREATE TABLE to_device_delivered (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    -- The log of the site that took the messages (a name).
    log BIGINT NOT NULL,
    -- The device has everything up to this position of it.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, device, log)
);

-- As in to_device_inbox; the number is the same everywhere.
ALTER TABLE federation_to_device ADD COLUMN log BIGINT;
ALTER TABLE federation_to_device ADD COLUMN log_position BIGINT;

-- What of each site's messages other servers acknowledged.
CREATE TABLE federation_to_device_delivered (
    destination TEXT NOT NULL,
    -- The log of the site that took the messages (a name).
    log BIGINT NOT NULL,
    -- The server has everything up to this position of it.
    position BIGINT NOT NULL,
    PRIMARY KEY (destination, log)
);
