-- Raises if 0002_indexes.sql did not do its work.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY '{resource_page,resource_page_by_type,resource_page_by_team,resource_visible,resource_by_score,
        resource_by_creator,resource_by_team,resource_version_latest,resource_tag_by_tag,member_by_user,
        member_team_admin,run_by_user,run_by_version,run_version_started,run_active,
        run_active_by_status,run_failed,chat_by_team,chat_message_page,chat_message_by_parent,
        chat_message_by_user,chat_participant_by_user,chat_participant_unread,session_active,
        session_by_user,session_by_expiry,user_preferences,resource_config,team_permissions,user_theme,
        resource_routine_timeout,run_completed,user_person,team_public}'::text[] LOOP
        ASSERT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(wanted) AND indisvalid), 'no valid index ' || wanted;
    END LOOP;
    -- Deleting a row looks for those that refer to it.
    ASSERT NOT EXISTS (
        SELECT FROM pg_constraint c WHERE c.contype = 'f' AND NOT EXISTS (
            SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indkey[0] = c.conkey[1])), 'a foreign key has no index';
END $$;
