-- Servers that do not answer at the moment, and when to try them again. Those that answer have no row.
CREATE TABLE destinations (
    -- The server name.
    name TEXT NOT NULL PRIMARY KEY,
    -- When it began, in milliseconds since 1970.
    failing_since BIGINT NOT NULL,
    -- Nothing is sent before this.
    retry_at BIGINT NOT NULL,
    -- How long the present pause is, in milliseconds; the next one is a multiple.
    retry_interval BIGINT NOT NULL
);
