-- 1: `json` is in its redacted form: what the redaction took away is not kept any more.
ALTER TABLE events ADD COLUMN pruned SMALLINT NOT NULL DEFAULT 0;
-- Redacted events whose content is still there, by their redaction.
CREATE INDEX events_to_prune ON events (redacted_by) WHERE redacted_by IS NOT NULL AND pruned = 0;
