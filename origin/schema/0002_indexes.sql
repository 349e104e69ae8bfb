-- One index, one reason. Primary keys and unique constraints of 0001_tables.sql bring theirs along: a second unique
-- index on the same column would only cost writes.

-- GET /resources: pages of what everyone may see, newest first. The predicate is the endpoint's own, word for word.
CREATE INDEX resource_page ON resources (created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- GET /resources?type=
CREATE INDEX resource_page_by_type ON resources (resource_type, created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- GET /resources?team=
CREATE INDEX resource_page_by_team ON resources (team_id, created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- The best of what everyone may see, and what is trending: read from the top, filtered by date.
CREATE INDEX resource_by_score ON resources (score DESC, id DESC)
    WHERE NOT is_private AND has_complete_version;

-- What a user made; also followed when a user is deleted, which looks at deleted resources too: no predicate.
CREATE INDEX resource_by_creator ON resources (created_by_id, created_at DESC);

-- Followed when a team is deleted.
CREATE INDEX resource_by_team ON resources (team_id);

-- GET /resources/{public_id} and every page: the latest version of a resource. Unique: there is only one.
CREATE UNIQUE INDEX resource_version_latest ON resource_versions (root_id) WHERE is_latest;

-- GET /users/{public_id}/teams: what a user is a member of, newest first.
CREATE INDEX member_by_user ON members (user_id, created_at DESC);

-- Who administers a team.
CREATE INDEX member_team_admin ON members (team_id, user_id) WHERE is_admin;

-- The runs of a user, newest first.
CREATE INDEX run_by_user ON runs (user_id, created_at DESC);

-- The runs of a version, newest first; also followed when a version is deleted.
CREATE INDEX run_by_version ON runs (resource_version_id, started_at DESC);

-- What is to be done or being done.
CREATE INDEX run_active ON runs (status, started_at) WHERE status IN ('Scheduled', 'InProgress');

-- What failed lately. A predicate cannot say "lately": now() is not immutable. Reading from the top is as good.
CREATE INDEX run_failed ON runs (created_at DESC) WHERE status = 'Failed';

-- Searches in preferences and settings by containment (`@>`).
CREATE INDEX user_preferences ON users USING gin (preferences jsonb_path_ops);
CREATE INDEX resource_version_config ON resource_versions USING gin (config jsonb_path_ops);
