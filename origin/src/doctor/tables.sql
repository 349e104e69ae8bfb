-- How tables are read and kept. `needed_pages` is what the rows would take if they were packed: by their number and the
-- average widths that ANALYZE found, with the fill factor; what is TOASTed is apart from that on both sides. Only for tables of
-- more than {bloat_pages} pages whose columns can all be seen, otherwise NULL.
SELECT n.nspname AS schema, c.relname AS name, greatest(c.reltuples, 0)::float8 AS rows,
       c.relpages::int8 AS pages, b.size AS block_bytes,
       s.seq_scan AS sequential_scans, s.seq_tup_read AS rows_scanned, coalesce(s.idx_scan, 0) AS index_scans,
       s.n_live_tup AS live, s.n_dead_tup AS dead,
       to_char(greatest(s.last_vacuum, s.last_autovacuum) AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS vacuumed_at,
       c.reltuples < 0 OR (c.reltuples = 0 AND c.relpages > 0) AS is_never_analyzed,
       coalesce(o.threshold, current_setting('autovacuum_vacuum_threshold')::float8)
           + coalesce(o.factor, current_setting('autovacuum_vacuum_scale_factor')::float8) * greatest(c.reltuples, 0)
           AS vacuum_from,
       coalesce(o.is_on, true) AND current_setting('autovacuum')::boolean AS is_vacuumed,
       CASE WHEN w.seen = w.columns AND c.reltuples > 0 THEN
           ceil(c.reltuples / greatest(1, floor((b.size - 24) * coalesce(o.fill, 100) / 100
               / (4 + 8 * ceil((23 + CASE WHEN w.has_nulls THEN ceil(c.relnatts / 8.0) ELSE 0 END) / 8)
                    + 8 * ceil(w.width / 8)))))::float8
       END AS needed_pages
FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
     JOIN pg_stat_user_tables s ON s.relid = c.oid
     CROSS JOIN (SELECT current_setting('block_size')::int8 AS size) b
     LEFT JOIN LATERAL (
         SELECT max(v) FILTER (WHERE k = 'autovacuum_vacuum_threshold')::float8 AS threshold,
                max(v) FILTER (WHERE k = 'autovacuum_vacuum_scale_factor')::float8 AS factor,
                max(v) FILTER (WHERE k = 'fillfactor')::float8 AS fill,
                max(v) FILTER (WHERE k = 'autovacuum_enabled')::boolean AS is_on
         FROM pg_options_to_table(c.reloptions) AS options (k, v)) o ON true
     LEFT JOIN LATERAL (
         SELECT count(*) AS columns, count(p.avg_width) AS seen, sum((1 - p.null_frac) * p.avg_width) AS width,
                bool_or(p.null_frac > 0) AS has_nulls
         FROM pg_attribute a
              LEFT JOIN pg_stats p ON p.schemaname = n.nspname AND p.tablename = c.relname AND p.attname = a.attname
                                      AND NOT p.inherited
         WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) w ON c.relpages > {bloat_pages}
WHERE c.relkind IN ('r', 'm')
  AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT EXISTS (SELECT FROM pg_depend e WHERE e.classid = 'pg_class'::regclass AND e.objid = c.oid AND e.deptype = 'e')
ORDER BY c.reltuples DESC, n.nspname, c.relname
LIMIT 20000
