-- Raises if 0001_tables.sql did not do its work.
DO $$
DECLARE
    wanted text;
BEGIN
    FOREACH wanted IN ARRAY '{users,teams,members,resources,resource_versions,runs,tags,chats,chat_participants,chat_messages,
        sessions}'::text[] LOOP
        ASSERT to_regclass(wanted) IS NOT NULL, 'no table ' || wanted;
        ASSERT EXISTS (SELECT FROM pg_index WHERE indrelid = to_regclass(wanted) AND indisprimary), 'no primary key on ' || wanted;
        ASSERT pg_get_serial_sequence(wanted, 'id') IS NOT NULL, 'no sequence for the ids of ' || wanted;
    END LOOP;
    ASSERT EXISTS (SELECT FROM pg_index WHERE indrelid = 'resource_tags'::regclass AND indisprimary), 'no primary key on resource_tags';
    -- A second unique index on the same columns only costs writes.
    ASSERT NOT EXISTS (
        SELECT FROM pg_index JOIN pg_class c ON c.oid = indrelid WHERE c.relnamespace = 'public'::regnamespace
        GROUP BY indrelid, indkey::text, indpred::text, indexprs::text, indclass::text HAVING count(*) > 1), 'an index is there twice';
END $$;
