-- Every table that belongs to an account begins its key with account_id. Instants are milliseconds since 1970 in UTC.
-- Columns named sealed hold AES-GCM text bound to their row; nothing secret stands anywhere else.

-- 'TRKR': how a Tracker tells its own file from another program's.
PRAGMA application_id = 1414679378;

-- One row for each key that has sealed something here: a fixed text, sealed. Belongs to the store, not to an account.
CREATE TABLE key_checks (
    key_id TEXT NOT NULL PRIMARY KEY,
    sealed BLOB NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE accounts (
    account_id INTEGER PRIMARY KEY,
    driver TEXT NOT NULL,
    provider TEXT NOT NULL,
    identity TEXT NOT NULL,
    -- The last number given to a change; raised by the transaction that writes the changes, so that no number is missing.
    last_seq INTEGER NOT NULL DEFAULT 0,
    -- Driver-facing provider, user and password. NULL once the last hook is gone.
    sealed BLOB,
    -- Key id and keyed digest of driver, provider, user and password.
    login_digest TEXT,
    login_at INTEGER,
    UNIQUE (driver, provider, identity),
    CHECK ((sealed IS NULL) = (login_digest IS NULL) AND (sealed IS NULL) = (login_at IS NULL))
) STRICT;

CREATE INDEX accounts_login ON accounts (login_digest) WHERE login_digest IS NOT NULL;

CREATE TABLE hooks (
    account_id INTEGER NOT NULL REFERENCES accounts,
    hook_id TEXT NOT NULL,
    subscriber TEXT NOT NULL,
    -- account, collection or member; what a scope has no use for is an empty text, so that UNIQUE sees it.
    scope TEXT NOT NULL CHECK (scope IN ('account', 'collection', 'member')),
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    -- Scheme, host and port; NULL reads the feed only.
    receiver TEXT,
    -- Callback, token and signing keys.
    sealed BLOB NOT NULL,
    base TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    -- When it was last set: what an attempt made before that says of the callback is about another callback.
    set_at INTEGER NOT NULL,
    disabled_at INTEGER,
    disabled_reason TEXT,
    ended_at INTEGER,
    PRIMARY KEY (account_id, hook_id),
    UNIQUE (account_id, subscriber, scope, collection, resource),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL))
) STRICT;

CREATE INDEX hooks_members ON hooks (account_id, collection, resource) WHERE scope = 'member';

-- A collection of an account: what is known of it as a whole, and when to look next.
CREATE TABLE units (
    account_id INTEGER NOT NULL REFERENCES accounts,
    collection TEXT NOT NULL,
    version INTEGER NOT NULL DEFAULT 0,
    observed_at INTEGER,
    -- NULL: nothing is planned.
    due_at INTEGER,
    failures INTEGER NOT NULL DEFAULT 0,
    error TEXT,
    PRIMARY KEY (account_id, collection)
) STRICT, WITHOUT ROWID;

CREATE INDEX units_due ON units (due_at, account_id, collection) WHERE due_at IS NOT NULL;

CREATE TABLE resources (
    account_id INTEGER NOT NULL REFERENCES accounts,
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    revision INTEGER NOT NULL,
    first_seen_at INTEGER NOT NULL,
    -- When it was last seen on its own; while it is not absent, the unit's observed_at counts too.
    observed_at INTEGER NOT NULL,
    absent_since INTEGER,
    body TEXT NOT NULL,
    PRIMARY KEY (account_id, collection, resource)
) STRICT;

-- What was known once: an id that comes back goes on counting its changes.
CREATE TABLE former_resources (
    account_id INTEGER NOT NULL REFERENCES accounts,
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    revision INTEGER NOT NULL,
    ended_at INTEGER NOT NULL,
    PRIMARY KEY (account_id, collection, resource)
) STRICT, WITHOUT ROWID;

CREATE TABLE changes (
    account_id INTEGER NOT NULL REFERENCES accounts,
    seq INTEGER NOT NULL,
    change_id TEXT NOT NULL,
    at INTEGER NOT NULL,
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    kind TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account_id, seq)
) STRICT;

-- hook_id refers to no row: a removed hook's deliveries stay, dropped. Nor does seq: a foreign key would make pruning old
-- changes search this table for each of them.
CREATE TABLE deliveries (
    account_id INTEGER NOT NULL REFERENCES accounts,
    hook_id TEXT NOT NULL,
    seq INTEGER NOT NULL,
    subscriber TEXT NOT NULL,
    collection TEXT NOT NULL,
    resource TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('waiting', 'delivered', 'read', 'exhausted', 'dropped')),
    attempts INTEGER NOT NULL DEFAULT 0,
    created_at INTEGER NOT NULL,
    settled_at INTEGER,
    -- When the next try is owed, claims aside.
    due_at INTEGER NOT NULL,
    -- Of a hook that is posted to, the oldest waiting delivery of each resource is ready, and no other: it alone has a
    -- receiver and a next_at. next_at is due_at, or while it is claimed, when the claim runs out.
    receiver TEXT,
    next_at INTEGER,
    claimed_at INTEGER,
    PRIMARY KEY (account_id, hook_id, seq),
    CHECK ((receiver IS NULL) = (next_at IS NULL)),
    CHECK (next_at IS NULL OR state = 'waiting'),
    CHECK (claimed_at IS NULL OR next_at IS NOT NULL),
    CHECK ((state = 'waiting') = (settled_at IS NULL))
) STRICT;

CREATE INDEX deliveries_ready ON deliveries (receiver, next_at, account_id, seq, hook_id) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_order ON deliveries (account_id, hook_id, collection, resource, seq) WHERE state = 'waiting';
CREATE INDEX deliveries_unread ON deliveries (account_id, subscriber, seq, hook_id)
    WHERE state IN ('waiting', 'exhausted');

CREATE TABLE attempts (
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
    FOREIGN KEY (account_id, hook_id, seq) REFERENCES deliveries ON UPDATE CASCADE
) STRICT, WITHOUT ROWID;
