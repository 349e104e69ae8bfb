-- One index, one reason: below each stands the query that it serves. Primary keys and unique constraints of 0001_tables.sql
-- bring theirs along; a second unique index on the same columns would only cost writes.
--
-- Lists are in the order (created_at DESC, id DESC): created_at alone is shared by rows, and a page that ends between two of
-- them would lose one. An index whose predicate is an endpoint's own has it word for word.

-- Found by a constraint's index, nothing to do here:
--   WHERE id = $1                        the primary keys
--   users, resources, runs, teams, resource_versions, chats, chat_messages: WHERE public_id = $1
--   users: WHERE email = $1, WHERE handle = $1; teams: WHERE handle = $1; tags: WHERE name = $1
--   sessions: WHERE token_hash = $1
--   members: WHERE team_id = $1          member_team_user_key (team_id, user_id), also count(*) of a team without the table
--   chat_participants: WHERE chat_id = $1        chat_participant_chat_user_key (chat_id, user_id)
--   resource_tags: WHERE resource_id = $1        its primary key (resource_id, tag_id)
--   resource_versions: WHERE root_id = $1 [AND is_complete] ORDER BY version_index DESC
--                                        resource_version_root_index_key (root_id, version_index), read backwards. One of its
--                                        own for complete versions would save the look at one row in twelve.

-- Resources -----------------------------------------------------------------------------------------------------------

-- WHERE NOT is_deleted AND NOT is_private AND has_complete_version [AND created_at >= $1] ORDER BY created_at DESC, id DESC
CREATE INDEX resource_page ON resources (created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- The same AND resource_type = $1
CREATE INDEX resource_page_by_type ON resources (resource_type, created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- The same AND team_id = $1
CREATE INDEX resource_page_by_team ON resources (team_id, created_at DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- WHERE NOT is_deleted AND NOT is_private ORDER BY created_at DESC, id DESC OFFSET $1: pages with a number, which also show
-- what has no complete version.
CREATE INDEX resource_visible ON resources (created_at DESC, id DESC) WHERE NOT is_deleted AND NOT is_private;

-- WHERE NOT is_deleted AND NOT is_private AND has_complete_version ORDER BY score DESC, id DESC: the best of what everyone may
-- see. Columns that the predicate fixes (is_private, has_complete_version) would only make its rows longer.
CREATE INDEX resource_by_score ON resources (score DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- The same AND (created_at AT TIME ZONE 'UTC')::date = $1: the best of a day, of which those of a week are made.
CREATE INDEX resource_by_day_and_score ON resources (((created_at AT TIME ZONE 'UTC')::date), score DESC, id DESC)
    WHERE NOT is_deleted AND NOT is_private AND has_complete_version;

-- WHERE created_by_id = $1 AND NOT is_deleted ORDER BY created_at DESC, id DESC: what a user made. Without a predicate, since
-- deleting a user looks for deleted resources too, and they are few.
CREATE INDEX resource_by_creator ON resources (created_by_id, created_at DESC, id DESC);

-- WHERE team_id = $1: followed when a team is deleted.
CREATE INDEX resource_by_team ON resources (team_id);

-- WHERE root_id = $1 AND is_latest: the latest version of a resource. Unique: there is only one. `is_latest` as a second
-- column would be the same in every row.
CREATE UNIQUE INDEX resource_version_latest ON resource_versions (root_id) WHERE is_latest;

-- WHERE tag_id = $1: the resources with a tag; also followed when a tag is deleted.
CREATE INDEX resource_tag_by_tag ON resource_tags (tag_id, resource_id);

-- Members -------------------------------------------------------------------------------------------------------------

-- WHERE user_id = $1 ORDER BY created_at DESC, id DESC: the teams of a user.
CREATE INDEX member_by_user ON members (user_id, created_at DESC, id DESC);

-- WHERE team_id = $1 AND is_admin: who administers a team.
CREATE INDEX member_team_admin ON members (team_id, user_id) WHERE is_admin;

-- Runs ----------------------------------------------------------------------------------------------------------------

-- WHERE user_id = $1 ORDER BY created_at DESC, id DESC: the runs of a user.
CREATE INDEX run_by_user ON runs (user_id, created_at DESC, id DESC);

-- WHERE resource_version_id = $1 ORDER BY created_at DESC, id DESC: the last runs of a version, and what is followed when a
-- version is deleted.
CREATE INDEX run_by_version ON runs (resource_version_id, created_at DESC, id DESC);

-- WHERE resource_version_id = $1 AND started_at IS NOT NULL ORDER BY started_at DESC, id DESC: in the order in which they
-- were really executed.
CREATE INDEX run_version_started ON runs (resource_version_id, started_at DESC, id DESC) WHERE started_at IS NOT NULL;

-- WHERE status IN ('Scheduled', 'InProgress') ORDER BY created_at DESC, id DESC: what is to be done or being done. Not by
-- started_at, which what is scheduled does not have: it can neither be put in order nor be the end of a page.
CREATE INDEX run_active ON runs (created_at DESC, id DESC) WHERE status IN ('Scheduled', 'InProgress');

-- The same for one status: WHERE status IN ('Scheduled', 'InProgress') AND status = $1
CREATE INDEX run_active_by_status ON runs (status, created_at DESC, id DESC) WHERE status IN ('Scheduled', 'InProgress');

-- WHERE status = 'Failed' AND created_at > now() - interval '7 days' ORDER BY created_at DESC, id DESC. A predicate cannot say
-- "lately" (42P17: now() is not immutable); a range at the top of the index can.
CREATE INDEX run_failed ON runs (created_at DESC, id DESC) WHERE status = 'Failed';

-- GET /counts: count(*) WHERE status = 'Completed', WHERE NOT is_bot, WHERE NOT is_private. Each holds what is counted and
-- nothing else, so that the table is not read.
CREATE INDEX run_completed ON runs (id) WHERE status = 'Completed';
CREATE INDEX user_person ON users (id) WHERE NOT is_bot;
CREATE INDEX team_public ON teams (id) WHERE NOT is_private;

-- Chats ---------------------------------------------------------------------------------------------------------------

-- WHERE team_id = $1 ORDER BY created_at DESC, id DESC: the chats of a team.
CREATE INDEX chat_by_team ON chats (team_id, created_at DESC, id DESC);

-- WHERE chat_id = $1 ORDER BY created_at DESC, id DESC: a page of a chat. One on chat_id alone would be its beginning again.
CREATE INDEX chat_message_page ON chat_messages (chat_id, created_at DESC, id DESC);

-- WHERE parent_id = $1: the answers to a message. Most answer none, and need no place in it.
CREATE INDEX chat_message_by_parent ON chat_messages (parent_id, created_at, id) WHERE parent_id IS NOT NULL;

-- WHERE user_id = $1: followed when a user is deleted.
CREATE INDEX chat_message_by_user ON chat_messages (user_id);

-- WHERE user_id = $1: the chats of a user; also followed when a user is deleted.
CREATE INDEX chat_participant_by_user ON chat_participants (user_id, created_at DESC, id DESC);

-- WHERE user_id = $1 AND has_unread ORDER BY created_at DESC, id DESC
CREATE INDEX chat_participant_unread ON chat_participants (user_id, created_at DESC, id DESC) WHERE has_unread;

-- Sessions ------------------------------------------------------------------------------------------------------------

-- WHERE user_id = $1 AND is_active AND expires_at > now()
CREATE INDEX session_active ON sessions (user_id, expires_at) WHERE is_active;

-- WHERE user_id = $1: followed when a user is deleted, which ends sessions that are over, too.
CREATE INDEX session_by_user ON sessions (user_id);

-- WHERE expires_at < $1: what is over, for the job that removes it.
CREATE INDEX session_by_expiry ON sessions (expires_at);

-- JSON ----------------------------------------------------------------------------------------------------------------

-- Searches by containment: WHERE preferences @> $1, WHERE config @> $1, WHERE permissions @> $1. jsonb_path_ops: a third of the
-- size of the default, which would only add `?`.
CREATE INDEX user_preferences ON users USING gin (preferences jsonb_path_ops);
CREATE INDEX resource_config ON resources USING gin (config jsonb_path_ops);
CREATE INDEX team_permissions ON teams USING gin (permissions jsonb_path_ops);

-- WHERE preferences ? 'theme' AND preferences->>'theme' = $1 ORDER BY created_at DESC, id DESC
CREATE INDEX user_theme ON users ((preferences->>'theme'), created_at DESC, id DESC) WHERE preferences ? 'theme';

-- WHERE resource_type = 'Routine' AND config ? 'executionTimeout' AND config->'executionTimeout' > $1: jsonb puts numbers in
-- the order of numbers, where the text that `->>` gives would put 90 after 1000.
CREATE INDEX resource_routine_timeout ON resources ((config->'executionTimeout'))
    WHERE resource_type = 'Routine' AND config ? 'executionTimeout';
