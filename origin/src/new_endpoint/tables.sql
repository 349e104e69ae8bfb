-- What there is to choose from. A partition is asked for by the name of the whole.
SELECT c.oid::int8 AS oid, n.nspname AS schema, c.relname AS name, pg_table_is_visible(c.oid) AS is_visible
FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
  AND NOT c.relispartition
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
ORDER BY n.nspname, c.relname
LIMIT 20000
