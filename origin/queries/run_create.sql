-- route: POST /runs
-- summary: Makes a run of a version of a resource
-- param user: body text
-- param resource_version: body text required
-- param name: body text 1..200 required
-- param status: body text = Scheduled
-- rows: one
-- location: /runs/{public_id}
-- if_match: version
-- idempotency: optional

-- No row has the id -1: the foreign key refuses a user or a version that is not there.
INSERT INTO runs (public_id, user_id, resource_version_id, name, status, started_at)
SELECT gen_random_uuid()::text,
       CASE WHEN :user::text IS NOT NULL THEN COALESCE((SELECT id FROM users WHERE public_id = :user), -1) END,
       COALESCE((SELECT id FROM resource_versions WHERE public_id = :resource_version), -1),
       :name, :status,
       CASE WHEN :status = 'InProgress' THEN now() END
RETURNING json_build_object(
              'publicId', public_id,
              'name', name,
              'status', status,
              'startedAt', started_at,
              'completedAt', completed_at,
              'createdAt', created_at) AS body,
          public_id,
          version
