-- The guide's unused indexes, and what it takes to judge them. pg_stat_user_indexes has relname and indexrelname, not tablename
-- and indexname; indexes of constraints are never unused; sizes are the planner's, which takes no lock.
-- `signature` is equal for indexes that can do the same.
SELECT n.nspname AS schema, t.relname AS "table", c.relname AS name,
       c.relpages::int8 * current_setting('block_size')::int8 AS bytes,
       pg_stat_get_numscans(c.oid) AS scans,
       i.indisunique AS is_unique,
       coalesce(to_jsonb(i) ->> 'indnullsnotdistinct' = 'true', false) AS has_equal_nulls,
       -- Also that which a foreign key refers to.
       EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = c.oid) AS has_constraint,
       i.indisreplident AS is_identity,
       i.indisvalid AND i.indisready AND i.indislive AS is_valid,
       EXISTS (SELECT FROM pg_stat_progress_create_index p WHERE p.index_relid = c.oid) AS is_being_built,
       -- Of a partition: comes and goes with the index of the whole.
       c.relispartition AS is_partition,
       i.indexprs IS NOT NULL AS has_expression,
       (SELECT min(f.conname::text) FROM pg_constraint f
        WHERE f.conrelid = t.oid AND f.contype = 'f'
          AND (i.indkey::int2[])[0:cardinality(f.conkey) - 1] @> f.conkey) AS foreign_key,
       concat_ws(' ', i.indrelid, c.relam, i.indnkeyatts, i.indkey, '/', i.indclass, '/', i.indcollation, '/', i.indoption,
                 '/', pg_get_expr(i.indexprs, i.indrelid), '/', pg_get_expr(i.indpred, i.indrelid)) AS signature
FROM pg_index i
     JOIN pg_class c ON c.oid = i.indexrelid AND c.relkind = 'i'
     JOIN pg_class t ON t.oid = i.indrelid
     JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = t.oid AND e.deptype = 'e')
ORDER BY c.relpages DESC, n.nspname, c.relname
LIMIT 20000
