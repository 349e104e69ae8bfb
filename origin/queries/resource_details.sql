-- route: GET /resources/{public_id}/details
-- summary: One resource with the settings of its latest version; its latest runs only if they are asked for
-- param public_id: path text
-- param include: query text {steps}
-- rows: one
-- if_match: version
-- read: replica; max_lag: 5s
-- tags: resource:{id} resource:{public_id} resource:{id}:{include} user:{creator_id}
-- table resources: resource:{id} resource:{public_id}
-- table resource_versions: resource:{root_id}
-- table users: user:{id}
-- table runs: resource:{resource_version_id.root_id}:steps
-- cache: max-age=30, s-maxage=1800, stale-while-revalidate=60
-- index: resource_public_id_key resource_version_latest run_by_version

-- Runs come and go: only what has them has the tag with `include`, without it the tag is left out.
SELECT json_build_object(
           'publicId', r.public_id,
           'resourceType', r.resource_type,
           'score', r.score,
           'createdAt', r.created_at,
           'version', CASE WHEN v.id IS NOT NULL THEN json_build_object(
               'publicId', v.public_id,
               'versionLabel', v.version_label,
               'name', v.name,
               'config', v.config,
               'isComplete', v.is_complete) END,
           'creator', CASE WHEN u.id IS NOT NULL THEN json_build_object(
               'publicId', u.public_id,
               'name', u.name,
               'handle', u.handle) END
           , 'recentRuns', COALESCE(s.runs, '[]') -- when include
       ) AS body,
       r.id,
       r.version,
       r.created_by_id AS creator_id
FROM resources r
LEFT JOIN resource_versions v ON v.root_id = r.id AND v.is_latest
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
LEFT JOIN LATERAL (SELECT json_agg(json_build_object(                                     -- when include
    'publicId', n.public_id, 'name', n.name, 'status', n.status,                          -- when include
    'startedAt', n.started_at, 'completedAt', n.completed_at)                             -- when include
    ORDER BY n.created_at DESC, n.id DESC) AS runs                                        -- when include
    FROM (SELECT * FROM runs n WHERE n.resource_version_id = v.id AND :include = 'steps'  -- when include
          ORDER BY n.created_at DESC, n.id DESC LIMIT 5) n) s ON true                     -- when include
WHERE r.public_id = :public_id
  AND NOT r.is_deleted
  AND NOT r.is_private
