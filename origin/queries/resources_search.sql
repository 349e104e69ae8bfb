-- route: GET /resources/search
-- summary: Resources whose settings contain a piece of JSON, the best first
-- param config: query jsonb required
-- param limit: query int8 1..100 = 20
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- lane: slow
-- tags: resources
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_config

-- An index of JSON has no order, and something common is contained in half of all settings. So of what is found a bounded
-- number is looked at, and the best of those are the answer. What has no value in it, such as {}, the index cannot find: it
-- finds nothing, in the place of a reading of the whole table. Some of what is looked for can still take long, so not in the
-- lane of what is quick.
SELECT f.public_id, f.resource_type, f.score, f.created_at
FROM (
    SELECT r.public_id, r.resource_type, r.score, r.created_at, r.id
    FROM resources r
    WHERE r.config @> :config
      AND jsonb_path_exists(:config, '$.** ? (@.type() != "object" && @.type() != "array")')
      AND NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
    LIMIT 1000) f
ORDER BY f.score DESC, f.id DESC
LIMIT :limit
