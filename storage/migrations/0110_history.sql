-- Where the hole is that a gap belongs to: right below this place in the timeline, as history is filled in from its
-- end; NULL: right below the event itself.
ALTER TABLE gaps ADD COLUMN below BIGINT;

-- Redactions that came before what they redact: history found later is redacted by them.
CREATE TABLE waiting_redactions (
    -- The room's ID (a name).
    room BIGINT NOT NULL,
    -- The event that is to be redacted, unknown here when the redaction came.
    target TEXT NOT NULL,
    -- The redaction's event ID.
    redaction TEXT NOT NULL,
    PRIMARY KEY (room, target, redaction)
);
