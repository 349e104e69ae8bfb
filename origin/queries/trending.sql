-- route: GET /trending
-- summary: The fifty best of the last seven days
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- tags: resources trending resource:{id}
-- cache: max-age=60, s-maxage=3600, stale-while-revalidate=300
-- index: resource_page

-- The week is cut out of the index of pages first, and its best are kept while reading. To read the index by score from the
-- top until fifty are of this week is faster in a busy week, and reads all of it in a quiet one.
WITH week AS MATERIALIZED (
    SELECT r.public_id, r.resource_type, r.score, r.created_at, r.id
    FROM resources r
    WHERE NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
      AND r.created_at >= now() - interval '7 days')
SELECT w.public_id, w.resource_type, w.score, w.created_at, w.id AS _id
FROM week w
ORDER BY w.score DESC, w.id DESC
LIMIT 50
