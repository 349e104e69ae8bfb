-- route: GET /resources/pages
-- summary: All resources by the number of the page, newest first, with a total that is counted to ten thousand
-- param limit: query int8 1..100 = 20
-- param page: query int8 1..10001 = 1
-- rows: page
-- total: exact 10000
-- body: columns
-- read: replica; max_lag: 5s
-- tags: resources resource:{id}
-- table resources: resources
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_visible

-- Both halves read the same index. The first has a row in any case, so that the total is there where the page is empty. Row
-- numbers are bounded by a constant inside, or the plan would be made for a tenth of the table.
SELECT p.public_id, p.resource_type, p.created_at, p.id AS _id, t.total AS _total
FROM (
    SELECT count(*) AS total
    FROM (
        SELECT
        FROM resources r
        WHERE NOT r.is_deleted
          AND NOT r.is_private
        ORDER BY r.created_at DESC, r.id DESC
        LIMIT :max_total) counted) t
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
