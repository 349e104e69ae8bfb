-- route: POST /teams/{public_id}/members
-- summary: Takes a user into a team
-- param public_id: path text
-- param user: body text required
-- param is_admin: body bool = false
-- rows: one
-- idempotency: optional

-- A team that is not there is no row, 404; a user who is not there is refused by the foreign key: no row has the id -1.
INSERT INTO members (team_id, user_id, is_admin)
SELECT t.id, COALESCE((SELECT id FROM users WHERE public_id = :user), -1), :is_admin
FROM teams t
WHERE t.public_id = :public_id
RETURNING json_build_object(
              'team', :public_id,
              'user', :user,
              'isAdmin', is_admin,
              'memberSince', created_at) AS body
