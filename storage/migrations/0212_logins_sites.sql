-- Logins, registrations and reports on several sites.

-- 1: it was used. The row stays until it expires, so that no site takes it again.
ALTER TABLE login_tokens ADD COLUMN used SMALLINT NOT NULL DEFAULT 0;

-- How often a registration token was used at other sites; `completed` counts the uses at this one.
CREATE TABLE registration_token_uses (
    token TEXT NOT NULL,
    -- The ID of the other site's log (a name).
    log BIGINT NOT NULL,
    completed BIGINT NOT NULL,
    PRIMARY KEY (token, log)
);

-- The log of the site at which the report was made (a name); NULL: this one's, and its position is `report`.
ALTER TABLE reports ADD COLUMN log BIGINT;
-- Its position there.
ALTER TABLE reports ADD COLUMN log_position BIGINT;
