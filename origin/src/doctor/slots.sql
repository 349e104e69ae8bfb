-- Who may hold WAL back, and how much of it is held.
SELECT slot_name AS name, slot_type AS kind, active AS is_active, wal_status,
       coalesce(pg_wal_lsn_diff(
           CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() ELSE pg_current_wal_lsn() END,
           restart_lsn), 0)::int8 AS kept_bytes,
       current_setting('max_slot_wal_keep_size') = '-1' AS is_unlimited
FROM pg_replication_slots
WHERE NOT temporary
ORDER BY 5 DESC
LIMIT 1000
