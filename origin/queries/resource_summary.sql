-- route: GET /resources/{public_id}
-- summary: One resource with its latest version and its creator
-- param public_id: path text
-- rows: one
-- if_match: version
-- read: replica; max_lag: 5s
-- tags: resource:{id} resource:{public_id} user:{creator_id}
-- table resources: resource:{id} resource:{public_id}
-- table resource_versions: resource:{root_id}
-- table users: user:{id}
-- cache: max-age=30, s-maxage=1800, stale-while-revalidate=60
-- index: resource_public_id_key resource_version_latest

SELECT json_build_object(
           'publicId', r.public_id,
           'resourceType', r.resource_type,
           'score', r.score,
           'bookmarks', r.bookmarks,
           'views', r.views,
           'createdAt', r.created_at,
           'version', CASE WHEN v.id IS NOT NULL THEN json_build_object(
               'publicId', v.public_id,
               'versionLabel', v.version_label,
               'name', v.name,
               'isComplete', v.is_complete) END,
           'creator', CASE WHEN u.id IS NOT NULL THEN json_build_object(
               'publicId', u.public_id,
               'name', u.name,
               'handle', u.handle) END) AS body,
       r.id,
       r.version,
       r.created_by_id AS creator_id
FROM resources r
LEFT JOIN resource_versions v ON v.root_id = r.id AND v.is_latest
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
WHERE r.public_id = :public_id
  AND NOT r.is_deleted
  AND NOT r.is_private
