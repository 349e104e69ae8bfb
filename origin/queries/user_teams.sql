-- route: GET /users/{public_id}/teams
-- summary: One user with their teams, newest membership first, and how many members each team has
-- param public_id: path text
-- rows: one
-- read: replica; max_lag: 5s
-- tags: user:{id} user:{public_id} user:{public_id}:teams
-- cache: max-age=30, s-maxage=1800, stale-while-revalidate=60
-- index: user_public_id_key member_by_user

SELECT json_build_object(
           'publicId', u.public_id,
           'name', u.name,
           'handle', u.handle,
           'teams', COALESCE(m.teams, '[]')) AS body,
       u.id
FROM users u
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'publicId', t.public_id,
               'name', t.name,
               'handle', t.handle,
               'isAdmin', m.is_admin,
               'memberSince', m.created_at,
               'memberCount', (SELECT count(*) FROM members c WHERE c.team_id = t.id))
               ORDER BY m.created_at DESC, m.id DESC) AS teams
    FROM members m
    JOIN teams t ON t.id = m.team_id AND NOT t.is_private
    WHERE m.user_id = u.id) m ON true
WHERE u.public_id = :public_id
  AND NOT u.is_private
