-- route: GET /teams/{public_id}/admins
-- summary: A team with those who administer it, at most 500, in the order in which they came
-- param public_id: path text
-- rows: one
-- read: replica; max_lag: 5s
-- tags: team:{id} team:{public_id} team:{public_id}:members user:{admin_ids}
-- table teams: team:{id} team:{public_id}
-- table members: team:{team_id.public_id}:members
-- table users: user:{id}
-- cache: max-age=30, s-maxage=300, stale-while-revalidate=60
-- index: team_public_id_key member_team_admin

SELECT json_build_object(
           'publicId', t.public_id,
           'name', t.name,
           'handle', t.handle,
           'admins', COALESCE(a.admins, '[]')) AS body,
       t.id,
       a.admin_ids
FROM teams t
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'publicId', u.public_id,
               'name', u.name,
               'handle', u.handle,
               'memberSince', m.created_at)
               ORDER BY m.created_at, m.id) FILTER (WHERE NOT u.is_private) AS admins,
           -- With those who are private: they may cease to be.
           array_agg(u.id) AS admin_ids
    -- Of more than anyone looks at, those whom the index has first.
    FROM (
        SELECT m.id, m.user_id, m.created_at
        FROM members m
        WHERE m.team_id = t.id
          AND m.is_admin
        ORDER BY m.user_id
        LIMIT 500) m
    JOIN users u ON u.id = m.user_id) a ON true
WHERE t.public_id = :public_id
  AND NOT t.is_private
