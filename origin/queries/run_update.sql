-- route: PATCH /runs/{public_id}
-- summary: Changes the state of a run; when it began and ended follows from that
-- param public_id: path text
-- param status: body text required
-- rows: one
-- if_match: version
-- idempotency: optional

UPDATE runs r
SET status = :status,
    started_at = CASE WHEN :status IN ('InProgress', 'Completed', 'Failed') THEN COALESCE(r.started_at, now()) ELSE r.started_at END,
    completed_at = CASE WHEN :status IN ('Completed', 'Failed', 'Cancelled') THEN COALESCE(r.completed_at, now()) END,
    updated_at = now(),
    version = r.version + 1
WHERE r.public_id = :public_id
  AND r.version = :if_match -- when if_match
RETURNING json_build_object(
              'publicId', r.public_id,
              'name', r.name,
              'status', r.status,
              'startedAt', r.started_at,
              'completedAt', r.completed_at,
              'createdAt', r.created_at) AS body,
          r.version
