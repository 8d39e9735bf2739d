-- Where users want notifications to be sent.
CREATE TABLE pushers (
    user_nid BIGINT NOT NULL,
    -- The application, as the client names it (UTF-8).
    app_id BYTEA NOT NULL,
    -- The device's address at its push provider (UTF-8).
    pushkey BYTEA NOT NULL,
    -- The device whose access token set it: it ends with the device.
    device_id TEXT NOT NULL,
    -- JSON object: the pusher as clients see it.
    content BYTEA NOT NULL,
    -- Log position of the newest change.
    position BIGINT NOT NULL,
    PRIMARY KEY (user_nid, app_id, pushkey)
);
CREATE INDEX pushers_by_pushkey ON pushers (app_id, pushkey);
