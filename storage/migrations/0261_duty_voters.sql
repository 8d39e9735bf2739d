-- Who votes on a duty: the sites that more than half of must be for whoever wants it.
CREATE TABLE duty_voters (
    duty TEXT NOT NULL,
    -- The names of the voters: a JSON list in alphabetical order.
    voters TEXT NOT NULL,
    -- The lease under which this was agreed, or was asked for.
    epoch BIGINT NOT NULL,
    -- 1: it was agreed; there is one such row for each duty. 0: somebody asked for a lease under it.
    is_settled INTEGER NOT NULL,
    PRIMARY KEY (duty, voters, is_settled)
);
