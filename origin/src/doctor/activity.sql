-- The guide's pool statistics. It counts one database and only two states, while max_connections is shared by all databases,
-- and a connection that is idle in a transaction is neither of the two. Without rights the states of others are hidden.
SELECT coalesce(state, 'hidden') AS state, count(*) AS connections
FROM pg_stat_activity
WHERE backend_type = 'client backend' OR (backend_type IS NULL AND datid IS NOT NULL)
GROUP BY 1
ORDER BY 1
