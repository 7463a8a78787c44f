-- What is thought of a realm, and under an empty name of all realms of the account: evidence, scores, verdicts. Written with the
-- changes that follow from it.
CREATE TABLE judgements (
    account_id INTEGER NOT NULL REFERENCES accounts,
    realm TEXT NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account_id, realm)
) STRICT, WITHOUT ROWID;
