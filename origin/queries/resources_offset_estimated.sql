-- route: GET /resources/pages/estimated
-- summary: The same pages with a total that costs nothing: what the server's statistics say
-- param limit: query int8 1..100 = 20
-- param page: query int8 1..10001 = 1
-- rows: page
-- total: estimate
-- body: columns
-- read: replica; max_lag: 5s
-- tags: resources resource:{id}
-- table resources: resources
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_visible

-- The index holds what the page lists and nothing else; its statistics know how many rows that is, as of the last vacuum.
SELECT p.public_id, p.resource_type, p.created_at, p.id AS _id, t.total AS _total
FROM (
    SELECT greatest(c.reltuples, 0)::int8 AS total
    FROM pg_class c
    WHERE c.oid = 'resource_visible'::regclass) t
LEFT JOIN (
    SELECT *
    FROM (
        SELECT r.public_id, r.resource_type, r.created_at, r.id
        FROM resources r
        WHERE NOT r.is_deleted
          AND NOT r.is_private
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT :max_limit) r
    ORDER BY r.created_at DESC, r.id DESC
    OFFSET :offset
    LIMIT :limit) p ON true
ORDER BY p.created_at DESC, p.id DESC
