-- route: POST /resources
-- summary: Makes a resource with its first version
-- param resource_type: body text required
-- param name: body text 1..200 required
-- param created_by: body text
-- param team: body text
-- param is_private: body bool = false
-- param is_complete: body bool = false
-- param config: body jsonb
-- rows: one
-- location: /resources/{public_id}
-- if_match: version
-- idempotency: optional

-- No row has the id -1: the foreign key refuses a creator or a team that is not there.
WITH made AS (
    INSERT INTO resources (public_id, created_by_id, team_id, resource_type, is_private, has_complete_version, config)
    SELECT gen_random_uuid()::text,
           CASE WHEN :created_by::text IS NOT NULL
                THEN COALESCE((SELECT id FROM users WHERE public_id = :created_by), -1) END,
           CASE WHEN :team::text IS NOT NULL
                THEN COALESCE((SELECT id FROM teams WHERE public_id = :team), -1) END,
           :resource_type, :is_private, :is_complete, COALESCE(:config::jsonb, '{}')
    RETURNING *),
first_version AS (
    INSERT INTO resource_versions (public_id, root_id, version_index, version_label, name, is_latest, is_complete)
    SELECT gen_random_uuid()::text, made.id, 0, '1.0.0', :name, true, :is_complete
    FROM made
    RETURNING *)
SELECT json_build_object(
           'publicId', r.public_id,
           'resourceType', r.resource_type,
           'isPrivate', r.is_private,
           'score', r.score,
           'createdAt', r.created_at,
           'updatedAt', r.updated_at,
           'version', json_build_object(
               'publicId', v.public_id,
               'versionLabel', v.version_label,
               'name', v.name,
               'isComplete', v.is_complete)) AS body,
       r.public_id,
       r.version
FROM made r
CROSS JOIN first_version v
