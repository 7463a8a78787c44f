-- Who may hint at what moved: one secret for each account, as a keyed digest only.

CREATE TABLE hint_secrets (
    account_id INTEGER NOT NULL PRIMARY KEY REFERENCES accounts,
    -- Key id and keyed digest.
    digest TEXT NOT NULL,
    made_at INTEGER NOT NULL,
    -- The one that was replaced, and until when it is still good.
    old_digest TEXT,
    old_until INTEGER,
    CHECK ((old_digest IS NULL) = (old_until IS NULL))
) STRICT;
