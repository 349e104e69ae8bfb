-- route: GET /runs/{public_id}
-- summary: One run
-- param public_id: path text
-- rows: one
-- body: columns
-- if_match: version
-- read: replica; max_lag: 5s
-- tags: run:{id} run:{public_id} user:{user_id} resource:{resource_id}
-- table runs: run:{id} run:{public_id}
-- table users: user:{id}
-- table resource_versions: resource:{root_id}
-- table resources: resource:{id}
-- cache: max-age=1, s-maxage=60
-- index: run_public_id_key

SELECT n.public_id,
       n.name,
       n.status,
       n.started_at,
       n.completed_at,
       n.created_at,
       v.public_id AS resource_version,
       n.id AS _id,
       n.user_id AS _user_id,
       v.root_id AS _resource_id,
       n.version AS _version
FROM runs n
LEFT JOIN users u ON u.id = n.user_id
LEFT JOIN resource_versions v ON v.id = n.resource_version_id
LEFT JOIN resources r ON r.id = v.root_id
WHERE n.public_id = :public_id
  AND u.is_private IS NOT true
  AND r.is_private IS NOT true
  AND r.is_deleted IS NOT true
