-- How far those who react to the log have come, so that a crash makes them miss nothing.
CREATE TABLE followers (
    -- Which follower; the name stands in its code.
    name TEXT NOT NULL PRIMARY KEY,
    -- It has dealt with every entry of the log up to this position.
    position BIGINT NOT NULL
);
