-- route: GET /runs/active
-- summary: What is to be done or being done, the latest first, in pages
-- param limit: query int8 1..100 = 50
-- param status: query text {Scheduled,InProgress}
-- rows: cursor
-- body: columns
-- read: replica; max_lag: 5s
-- tags: runs runs:Scheduled runs:InProgress run:{id}
-- table runs: runs:{status}
-- table users: ttl
-- table resource_versions: ttl
-- table resources: ttl
-- cache: max-age=1, s-maxage=5
-- index: run_active

-- Whose runs they are, and of what, can come to be private: then they are seen for five seconds more.
-- Runs by whom nobody may see and of what nobody may see are left out; they are few, so the page is found by looking a
-- little further.
SELECT n.public_id, n.name, n.status, n.started_at, n.created_at, n.id AS _id
FROM (
    SELECT n.*
    FROM runs n
    LEFT JOIN users u ON u.id = n.user_id
    LEFT JOIN resource_versions v ON v.id = n.resource_version_id
    LEFT JOIN resources r ON r.id = v.root_id
    WHERE n.status IN ('Scheduled', 'InProgress')
      AND n.status = :status                                      -- when status
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
