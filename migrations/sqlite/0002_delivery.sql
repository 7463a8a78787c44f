-- How hooks want to be told, since when they fail, and deliveries that stand for others.

-- Raised whenever the hook is set, disabled or enabled: who keeps a hook in memory sees that it is another one now.
ALTER TABLE hooks ADD COLUMN version INTEGER NOT NULL DEFAULT 1;
ALTER TABLE hooks ADD COLUMN mode TEXT NOT NULL DEFAULT 'each' CHECK (mode IN ('each', 'latest'));
ALTER TABLE hooks ADD COLUMN format TEXT NOT NULL DEFAULT 'changes' CHECK (format IN ('changes', 'cloudevents'));
-- A JSON list of the types that are told; NULL: all.
ALTER TABLE hooks ADD COLUMN events TEXT;
-- When the first try failed of those that failed since one succeeded.
ALTER TABLE hooks ADD COLUMN failing_since INTEGER;
-- How often it was disabled: the revision of the change that says so.
ALTER TABLE hooks ADD COLUMN disabled_count INTEGER NOT NULL DEFAULT 0;

-- A CHECK cannot be changed in place, so the table is made anew: there is one more state, and three more columns.
CREATE TABLE new_deliveries (
    account_id INTEGER NOT NULL REFERENCES accounts,
    hook_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subscriber TEXT NOT NULL,
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'read', 'exhausted', 'dropped', 'merged')),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    -- When the next try is owed, claims aside.
    due_at INTEGER NOT NULL,
    -- The receiver asked not to be called before that.
    not_before INTEGER,
    -- Of a hook that is posted to, the oldest waiting delivery of each resource is ready, and no other: it alone has a
    -- receiver and a next_at. next_at is due_at, or while it is claimed, when the claim runs out.
    receiver TEXT,
    next_at INTEGER,
    claimed_at INTEGER,
    -- Of a delivery that stands for earlier ones: the oldest of them, and how many.
    merged_from INTEGER,
    merged_count INTEGER,
    PRIMARY KEY (account_id, hook_id, seq),
    CHECK ((receiver IS NULL) = (next_at IS NULL)),
    CHECK (next_at IS NULL OR state = 'waiting'),
    CHECK (claimed_at IS NULL OR next_at IS NOT NULL),
    CHECK ((state = 'waiting') = (settled_at IS NULL)),
    CHECK ((merged_from IS NULL) = (merged_count IS NULL))
) STRICT;

INSERT INTO new_deliveries (account_id, hook_id, seq, subscriber, collection, resource, state, attempts, created_at,
                            settled_at, due_at, receiver, next_at, claimed_at)
SELECT account_id, hook_id, seq, subscriber, collection, resource, state, attempts, created_at,
       settled_at, due_at, receiver, next_at, claimed_at
FROM deliveries;

CREATE TABLE new_attempts (
    account_id INTEGER NOT NULL,
    hook_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    -- The how-manieth record of this delivery. Not the attempt's number, which a postponed one does not use up.
    record INTEGER NOT NULL,
    number INTEGER NOT NULL,
    at INTEGER NOT NULL,
    elapsed_ms INTEGER NOT NULL,
    status INTEGER,
    error TEXT,
    answer TEXT NOT NULL,
    PRIMARY KEY (account_id, hook_id, seq, record),
    FOREIGN KEY (account_id, hook_id, seq) REFERENCES new_deliveries ON UPDATE CASCADE
) STRICT, WITHOUT ROWID;

INSERT INTO new_attempts (account_id, hook_id, seq, record, number, at, elapsed_ms, status, error, answer)
SELECT account_id, hook_id, seq, record, number, at, elapsed_ms, status, error, answer FROM attempts;

-- Attempts first, as they refer to deliveries. Renaming takes the reference along.
DROP TABLE attempts;
DROP TABLE deliveries;
ALTER TABLE new_deliveries RENAME TO deliveries;
ALTER TABLE new_attempts RENAME TO attempts;

CREATE INDEX deliveries_ready ON deliveries (receiver, next_at, account_id, seq, hook_id) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_order ON deliveries (account_id, hook_id, collection, resource, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_unread ON deliveries (account_id, subscriber, seq, hook_id)
    WHERE state IN ('waiting', 'exhausted');
-- How far behind a hook is, and what of it is to be sent again.
CREATE INDEX deliveries_behind ON deliveries (account_id, hook_id, state, seq) WHERE state IN ('waiting', 'exhausted');
-- The owner's list, newest first.
CREATE INDEX deliveries_newest ON deliveries (account_id, seq);
