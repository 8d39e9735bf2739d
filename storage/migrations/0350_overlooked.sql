-- Events of which another server's answer said nothing: they are sent again for a while, after a restart too.
CREATE TABLE federation_overlooked (
    -- The server name.
    destination TEXT NOT NULL,
    event_id TEXT NOT NULL,
    PRIMARY KEY (destination, event_id)
);
