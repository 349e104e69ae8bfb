-- route: GET /counts
-- summary: How many users, resources, completed runs and teams there are
-- rows: one
-- read: replica; max_lag: 60s
-- lane: slow
-- tags: counts
-- table users: ttl
-- table resources: ttl
-- table runs: ttl
-- table teams: ttl
-- cache: max-age=60, s-maxage=7200, stale-while-revalidate=600
-- index: resource_page run_completed user_person team_public

-- Every change of four tables is a change of a count: two hours old is good enough for a front page, and `updatedAt` says when.
-- Each is counted in an index that holds just what is counted, without the table.
SELECT json_build_object(
           'users', (SELECT count(*) FROM users u WHERE NOT u.is_bot),
           'resources', (
               SELECT count(*)
               FROM (
                   SELECT
                   FROM resources r
                   WHERE NOT r.is_deleted AND NOT r.is_private AND r.has_complete_version
                   -- Which the index has, and the table would have to be sorted for.
                   ORDER BY r.created_at DESC, r.id DESC) r),
           'completedRuns', (SELECT count(*) FROM runs r WHERE r.status = 'Completed'),
           'teams', (SELECT count(*) FROM teams t WHERE NOT t.is_private),
           'updatedAt', now()) AS body
