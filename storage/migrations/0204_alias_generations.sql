-- Claims on one alias that sites made apart: the earliest of a generation keeps it; a removal ends the generation.
ALTER TABLE room_aliases ADD COLUMN generation BIGINT NOT NULL DEFAULT 0;

-- Aliases that were removed: a later claim is of the next generation.
CREATE TABLE removed_aliases (
    -- As in room_aliases.
    alias BYTEA PRIMARY KEY,
    generation BIGINT NOT NULL
);
