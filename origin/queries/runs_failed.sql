-- route: GET /runs/failed
-- summary: What failed in the last seven days, the latest first, in pages
-- param limit: query int8 1..100 = 50
-- rows: cursor
-- body: columns
-- read: replica; max_lag: 5s
-- tags: runs runs:Failed run:{id}
-- table runs: runs:{status}
-- table users: ttl
-- table resource_versions: ttl
-- table resources: ttl
-- cache: max-age=5, s-maxage=60
-- index: run_failed

-- What becomes eight days old, and whose runs come to be private, is seen for a minute more.
SELECT n.public_id, n.name, n.status, n.started_at, n.completed_at, n.created_at, n.id AS _id
FROM (
    SELECT n.*
    FROM runs n
    LEFT JOIN users u ON u.id = n.user_id
    LEFT JOIN resource_versions v ON v.id = n.resource_version_id
    LEFT JOIN resources r ON r.id = v.root_id
    WHERE n.status = 'Failed'
      AND n.created_at > now() - interval '7 days'
      AND u.is_private IS NOT true
      AND r.is_private IS NOT true
      AND r.is_deleted IS NOT true
      AND (n.created_at, n.id) < (:after_created_at, :after_id)   -- when cursor
      AND (n.created_at, n.id) > (:before_created_at, :before_id) -- when before
    ORDER BY n.created_at DESC, n.id DESC                         -- unless before
    ORDER BY n.created_at, n.id                                   -- when before
    LIMIT :max_limit) n
ORDER BY n.created_at DESC, n.id DESC -- unless before
ORDER BY n.created_at, n.id           -- when before
LIMIT :limit
