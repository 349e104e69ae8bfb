-- route: GET /resources/batch
-- summary: Up to 500 resources by their ids with their creators, in the order of the ids; those that are not there are left out
-- param ids: query text[] 1..500 required
-- rows: many
-- read: replica; max_lag: 5s
-- tags: resource:{id} user:{creator_id}
-- cache: max-age=30, s-maxage=300, stale-while-revalidate=60
-- index: resource_public_id_key

-- One round trip, whatever the number.
SELECT json_build_object(
           'publicId', r.public_id,
           'resourceType', r.resource_type,
           'score', r.score,
           'createdAt', r.created_at,
           'creator', CASE WHEN u.id IS NOT NULL THEN json_build_object(
               'publicId', u.public_id,
               'name', u.name,
               'handle', u.handle) END) AS body,
       r.id,
       r.created_by_id AS creator_id
FROM resources r
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
WHERE r.public_id = ANY (:ids)
  AND NOT r.is_deleted
  AND NOT r.is_private
ORDER BY array_position(:ids, r.public_id)
