-- Duties that one site at a time has, such as sending to other servers (organisations on one site leave these empty).

-- What this site voted for last.
CREATE TABLE duty_votes (
    -- The duty's name.
    duty TEXT NOT NULL PRIMARY KEY,
    -- The ID of this site's log when it voted: votes in a database that was copied are not this site's.
    log TEXT NOT NULL,
    -- The number of the lease: nobody gets one with a lower number any more.
    epoch BIGINT NOT NULL,
    -- The site that has the lease.
    holder TEXT NOT NULL,
    -- How long the lease lasts from each time that it is given, in milliseconds.
    term BIGINT NOT NULL
);

-- Who has a duty where two sites are alone and cannot vote: the newest decision that is known here.
CREATE TABLE duty_decisions (
    duty TEXT NOT NULL PRIMARY KEY,
    -- The number of the decision: a higher one ends those before.
    epoch BIGINT NOT NULL,
    -- The site that has the duty.
    holder TEXT NOT NULL,
    -- The ID of that site's log; empty if it has not taken note of the decision yet. With a new log it decides anew.
    log TEXT NOT NULL
);

-- How far the work of a duty has come: whoever has it next goes on from here.
CREATE TABLE duty_progress (
    duty TEXT NOT NULL PRIMARY KEY,
    -- The lease under which it came so far.
    epoch BIGINT NOT NULL,
    -- The ID of the log of the site that had the lease.
    log TEXT NOT NULL,
    -- The position of that log up to which everything is done.
    position BIGINT NOT NULL
);
