-- When the sender says that the event happened (`origin_server_ts`, milliseconds): what is looked for by time.
ALTER TABLE events ADD COLUMN origin_server_ts BIGINT NOT NULL DEFAULT 0;
CREATE INDEX events_by_time ON events (room, origin_server_ts);
