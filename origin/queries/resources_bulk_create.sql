-- route: POST /bulk/resources
-- summary: Makes up to 5,000 resources, each with its first version; all or none
-- param rows: body rows
-- row resource_type: text required
-- row name: text 1..200 required
-- row created_by: text
-- row team: text
-- row is_private: bool
-- row is_complete: bool
-- row config: jsonb
-- rows: one
-- idempotency: optional

-- The ids are made first, so that the answer can have them in the order of the rows. No row has the id -1: the foreign keys
-- refuse a creator or a team that is not there.
WITH given AS MATERIALIZED (
    SELECT gen_random_uuid()::text AS public_id, x.*
    FROM ROWS FROM (jsonb_to_recordset(:rows) AS (
        "resourceType" text, name text, "createdBy" text, team text, "isPrivate" boolean, "isComplete" boolean, config jsonb))
        WITH ORDINALITY AS x (resource_type, name, created_by, team, is_private, is_complete, config, nth)),
made AS (
    INSERT INTO resources (public_id, created_by_id, team_id, resource_type, is_private, has_complete_version, config)
    SELECT g.public_id,
           CASE WHEN g.created_by IS NOT NULL THEN COALESCE(u.id, -1) END,
           CASE WHEN g.team IS NOT NULL THEN COALESCE(t.id, -1) END,
           g.resource_type, COALESCE(g.is_private, false), COALESCE(g.is_complete, false), COALESCE(g.config, '{}')
    FROM given g
    LEFT JOIN users u ON u.public_id = g.created_by
    LEFT JOIN teams t ON t.public_id = g.team
    ORDER BY g.nth
    RETURNING id, public_id),
versions AS (
    INSERT INTO resource_versions (public_id, root_id, version_index, version_label, name, is_latest, is_complete)
    SELECT gen_random_uuid()::text, m.id, 0, '1.0.0', g.name, true, COALESCE(g.is_complete, false)
    FROM made m
    JOIN given g USING (public_id))
SELECT json_build_object('created', count(*), 'publicIds', json_agg(public_id ORDER BY nth)) AS body
FROM given
