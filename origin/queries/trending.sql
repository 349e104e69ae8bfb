-- route: GET /trending
-- summary: The fifty best of the last seven days
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- tags: trending resource:{id}
-- table resources: resource:{id}
-- cache: max-age=60, s-maxage=3600, stale-while-revalidate=300
-- index: resource_by_day_and_score

-- What is shown is never stale. What comes to be among the best, which any change can do, is seen within the hour.
-- Seven days lie in eight by the calendar, and the fifty best of each are the first in an index. All of a week by time would
-- be read to find fifty, as would the best of all time in a quiet week.
SELECT w.public_id, w.resource_type, w.score, w.created_at, w.id AS _id
FROM generate_series(0, 7) AS ago
CROSS JOIN LATERAL (
    SELECT r.public_id, r.resource_type, r.score, r.created_at, r.id
    FROM resources r
    WHERE NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
      AND (r.created_at AT TIME ZONE 'UTC')::date = (now() AT TIME ZONE 'UTC')::date - ago
      -- Not as a bound of created_at, for which another index would be read.
      AND r.created_at + interval '7 days' >= now()
    ORDER BY r.score DESC, r.id DESC
    LIMIT 50) w
ORDER BY w.score DESC, w.id DESC
LIMIT 50
