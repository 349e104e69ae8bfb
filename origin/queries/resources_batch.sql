-- route: GET /resources/batch
-- summary: Up to 500 resources by their ids with their creators, in the order of the ids; those that are not there are left out
-- param ids: query text[] 1..500 required
-- rows: many
-- body: columns
-- read: replica; max_lag: 5s
-- tags: resource:{ids} user:{creator_id}
-- table resources: resource:{public_id}
-- table users: user:{id}
-- cache: max-age=30, s-maxage=300, stale-while-revalidate=60
-- index: resource_public_id_key

-- What is asked for is what tags are made of: one that is not to be seen may come to be.
-- One round trip, whatever the number.
SELECT r.public_id,
       r.resource_type,
       r.score,
       r.created_at,
       u.public_id AS "creator.public_id",
       u.name AS "creator.name",
       u.handle AS "creator.handle",
       r.created_by_id AS _creator_id
FROM resources r
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
WHERE r.public_id = ANY (:ids)
  AND NOT r.is_deleted
  AND NOT r.is_private
ORDER BY array_position(:ids, r.public_id)
