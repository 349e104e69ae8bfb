-- route: GET /resources/search
-- summary: Resources whose settings contain a piece of JSON, the best first
-- param config: query jsonb required
-- param limit: query int8 1..100 = 20
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- lane: slow
-- tags: searches
-- table resources: ttl
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_by_score resource_config

-- What any change of any resource does to what somebody searched nobody can say but the search: it is five minutes old at most.
-- An index of JSON has no order, and something common is contained in half of all settings. What is common is soon found among
-- the best, in an index that has their order. What is not found there often enough is looked for in the index of JSON, and then of
-- what is found a bounded number is looked at. What has no value in it, such as {}, that index cannot find: it finds nothing, in the place of
-- a reading of the whole table. Some of what is looked for can still take long, so not in the lane of what is quick.
WITH among_the_best AS MATERIALIZED (
    SELECT b.id, b.score
    FROM (
        SELECT r.id, r.score, r.config
        FROM resources r
        WHERE NOT r.is_deleted AND NOT r.is_private AND r.has_complete_version
        ORDER BY r.score DESC, r.id DESC
        LIMIT 2000) b
    WHERE b.config @> :config
      AND jsonb_path_exists(:config, '$.** ? (@.type() != "object" && @.type() != "array")')
    LIMIT :limit),
anywhere AS MATERIALIZED (
    SELECT r.id, r.score
    FROM resources r
    WHERE r.config @> :config
      AND jsonb_path_exists(:config, '$.** ? (@.type() != "object" && @.type() != "array")')
      AND NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
      AND (SELECT count(*) FROM among_the_best) < :limit
    LIMIT 1000)
SELECT r.public_id, r.resource_type, r.score, r.created_at
FROM (
    SELECT b.id FROM among_the_best b WHERE (SELECT count(*) FROM among_the_best) = :limit
    UNION ALL
    (SELECT a.id FROM anywhere a ORDER BY a.score DESC, a.id DESC LIMIT :limit)) f
JOIN resources r ON r.id = f.id
ORDER BY r.score DESC, r.id DESC
