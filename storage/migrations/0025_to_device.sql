-- Messages that wait for devices.
CREATE TABLE to_device_inbox (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    -- Log position of the request that sent it: at most one message per device.
    position BIGINT NOT NULL,
    -- JSON of the whole event; NULL if it is in to_device_shared.
    event BYTEA,
    -- Which of the position's shared events this is; NULL if `event` is given.
    shared SMALLINT,
    PRIMARY KEY (user_nid, device, position)
);

-- Events that go to several devices, once.
CREATE TABLE to_device_shared (
    position BIGINT NOT NULL,
    number SMALLINT NOT NULL,
    event BYTEA NOT NULL,
    -- How many rows of to_device_inbox still refer to it.
    waiting BIGINT NOT NULL,
    PRIMARY KEY (position, number)
);

-- How many messages wait for each device.
CREATE TABLE to_device_pending (
    user_nid BIGINT NOT NULL,
    device BYTEA NOT NULL,
    pending BIGINT NOT NULL,
    PRIMARY KEY (user_nid, device)
);
