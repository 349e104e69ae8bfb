-- route: GET /users/{public_id}/teams
-- summary: One user with their teams, newest membership first, and how many members each team has
-- param public_id: path text
-- rows: one
-- read: replica; max_lag: 5s
-- tags: user:{id} user:{public_id} user:{public_id}:teams team:{team_ids} team:{team_ids}:members
-- table users: user:{id} user:{public_id}
-- table members: user:{user_id.public_id}:teams team:{team_id}:members
-- table teams: team:{id}
-- cache: max-age=30, s-maxage=1800, stale-while-revalidate=60
-- index: user_public_id_key member_by_user

SELECT json_build_object(
           'publicId', u.public_id,
           'name', u.name,
           'handle', u.handle,
           'teams', COALESCE(m.teams, '[]')) AS body,
       u.id,
       m.team_ids
FROM users u
LEFT JOIN LATERAL (
    SELECT json_agg(json_build_object(
               'publicId', t.public_id,
               'name', t.name,
               'handle', t.handle,
               'isAdmin', m.is_admin,
               'memberSince', m.created_at,
               'memberCount', (SELECT count(*) FROM members c WHERE c.team_id = t.id))
               ORDER BY m.created_at DESC, m.id DESC) FILTER (WHERE NOT t.is_private) AS teams,
           -- With those that are private: they may cease to be.
           array_agg(t.id) AS team_ids
    FROM members m
    JOIN teams t ON t.id = m.team_id
    WHERE m.user_id = u.id) m ON true
WHERE u.public_id = :public_id
  AND NOT u.is_private
