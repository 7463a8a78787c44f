-- What is found to be too old is found by its age. Changes and deliveries need nothing new: the oldest of an account come first
-- in its log, and in deliveries_newest.

CREATE INDEX hooks_ended ON hooks (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX former_resources_ended ON former_resources (ended_at);
