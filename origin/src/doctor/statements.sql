-- The guide's slow queries. total_time and mean_time are total_exec_time and mean_exec_time since Postgres 13; statements of
-- other databases are left out; and {view} may be in any schema.
SELECT left(s.query, 4000) AS query, s.calls, s.rows, s.mean_exec_time AS mean_ms, s.max_exec_time AS max_ms,
       s.total_exec_time AS total_ms,
       100.0 * s.shared_blks_hit / nullif(s.shared_blks_hit + s.shared_blks_read, 0) AS hit_percent
FROM {view} s
WHERE s.dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND s.mean_exec_time > $1
  AND s.query NOT LIKE '%larder-origin doctor%'
ORDER BY s.mean_exec_time DESC
LIMIT 200
