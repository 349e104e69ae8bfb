-- The server itself: what it is, since when it counts, how much it lets in, how far it is.
-- Counts begin when either of the two was reset: a crash, and the start of a new replica, reset only the second.
SELECT current_setting('server_version') AS version,
       current_setting('server_version_num')::int AS version_number,
       pg_is_in_recovery() AS is_replica,
       current_user AS role,
       pg_has_role(current_user, 'pg_read_all_stats', 'USAGE') AS sees_all,
       to_char(since.at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"') AS counts_since,
       extract(epoch FROM now() - since.at)::float8 AS counts_seconds,
       current_setting('max_connections')::int
           - current_setting('superuser_reserved_connections')::int
           - coalesce(current_setting('reserved_connections', true), '0')::int AS connection_limit,
       pg_wal_lsn_diff(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
                       '0/0')::int8 AS position,
       CASE WHEN pg_is_in_recovery() AND pg_last_wal_receive_lsn() IS DISTINCT FROM pg_last_wal_replay_lsn()
            THEN extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())::float8 END AS lag_seconds,
       CASE WHEN pg_is_in_recovery() THEN pg_is_wal_replay_paused() ELSE false END AS is_paused,
       (SELECT count(*) FROM pg_stat_wal_receiver) AS receivers,
       wrap.transactions, wrap.multixacts, wrap.database AS oldest_database,
       current_setting('autovacuum_freeze_max_age')::int8 AS freeze_max_age,
       current_setting('autovacuum_multixact_freeze_max_age')::int8 AS multixact_freeze_max_age,
       (SELECT n.nspname FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace
        WHERE e.extname = 'pg_stat_statements') AS statements_schema,
       EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements') AS has_statements_library,
       -- Not to be seen without rights, and then NULL.
       (SELECT setting FROM pg_settings WHERE name = 'shared_preload_libraries') AS preloaded
FROM (SELECT greatest(d.stats_reset, b.stats_reset) AS at
      FROM pg_stat_database d, pg_stat_bgwriter b
      WHERE d.datname = current_database()) since,
     (SELECT max(age(datfrozenxid)) AS transactions, max(mxid_age(datminmxid)) AS multixacts,
             (array_agg(datname ORDER BY age(datfrozenxid) DESC))[1] AS database
      FROM pg_database) wrap
