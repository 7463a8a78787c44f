-- What of an account failed when it was found out of reach: that it answers again is what ends the outage.
ALTER TABLE accounts ADD COLUMN away_blamed TEXT;
