-- For telling once that an account cannot be looked at, and once that it can again.

-- How many changes said how the account stands: the revision of the last one.
ALTER TABLE accounts ADD COLUMN standings INTEGER NOT NULL DEFAULT 0;
-- While it cannot be looked at.
ALTER TABLE accounts ADD COLUMN away TEXT CHECK (away IN ('unreachable', 'denied'));
ALTER TABLE accounts ADD COLUMN away_since INTEGER CHECK ((away_since IS NULL) = (away IS NULL));
ALTER TABLE accounts ADD COLUMN away_last_good_at INTEGER;
ALTER TABLE accounts ADD COLUMN away_error TEXT;
-- A unit in which nothing changes rests: the cadence passes it over until then.
ALTER TABLE units ADD COLUMN rest_until INTEGER;
