-- route: PATCH /bulk/resources
-- summary: Changes up to 5,000 resources; all or none, also when one of them is not there
-- param rows: body rows
-- row public_id: text required
-- row resource_type: text
-- row is_private: bool
-- row score: int4
-- rows: one

-- Locked in one order, so that two of these never wait for each other. A resource that is there twice is no such list.
WITH given AS MATERIALIZED (
    SELECT *
    FROM jsonb_to_recordset(:rows) AS x ("publicId" text, "resourceType" text, "isPrivate" boolean, score integer)),
found AS MATERIALIZED (
    SELECT r.id, g."resourceType" AS resource_type, g."isPrivate" AS is_private, g.score
    FROM given g
    JOIN resources r ON r.public_id = g."publicId"
    WHERE NOT r.is_deleted
    ORDER BY r.id
    FOR UPDATE OF r),
changed AS (
    UPDATE resources r
    SET resource_type = COALESCE(f.resource_type, r.resource_type),
        is_private = COALESCE(f.is_private, r.is_private),
        score = COALESCE(f.score, r.score),
        updated_at = now(),
        version = r.version + 1
    FROM found f
    WHERE r.id = f.id
      AND (SELECT count(DISTINCT id) FROM found) = (SELECT count(*) FROM given)
    RETURNING r.id)
SELECT json_build_object('updated', count(*)) AS body
FROM changed
HAVING count(*) > 0
