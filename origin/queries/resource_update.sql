-- route: PATCH /resources/{public_id}
-- summary: Changes the members of a resource that the body has
-- param public_id: path text
-- param resource_type: body text
-- param is_private: body bool
-- param score: body int4
-- param team: body text
-- rows: one
-- if_match: version
-- idempotency: optional

UPDATE resources r
SET resource_type = CASE WHEN :has_resource_type THEN :resource_type ELSE r.resource_type END,
    is_private = CASE WHEN :has_is_private THEN :is_private ELSE r.is_private END,
    score = CASE WHEN :has_score THEN :score ELSE r.score END,
    -- Null takes it out of its team. No row has the id -1: the foreign key refuses a team that is not there.
    team_id = CASE WHEN NOT :has_team THEN r.team_id
                   WHEN :team::text IS NOT NULL THEN COALESCE((SELECT id FROM teams WHERE public_id = :team), -1) END,
    updated_at = now(),
    version = r.version + 1
WHERE r.public_id = :public_id
  AND NOT r.is_deleted
  AND r.version = :if_match -- when if_match
RETURNING json_build_object(
              'publicId', r.public_id,
              'resourceType', r.resource_type,
              'isPrivate', r.is_private,
              'score', r.score,
              'createdAt', r.created_at,
              'updatedAt', r.updated_at) AS body,
          r.version
