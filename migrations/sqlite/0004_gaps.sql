-- For telling when nobody looked although somebody wanted to know.

-- How many gaps were stated of the unit: the revision of the last change that says so.
ALTER TABLE units ADD COLUMN gaps INTEGER NOT NULL DEFAULT 0;
-- Since when the hook is set and has not ended. Before that nobody looked on its behalf, and nobody had to.
ALTER TABLE hooks ADD COLUMN live_since INTEGER NOT NULL DEFAULT 0;
UPDATE hooks SET live_since = created_at;
