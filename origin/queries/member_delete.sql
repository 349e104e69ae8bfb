-- route: DELETE /teams/{public_id}/members/{user}
-- summary: Takes a user out of a team
-- param public_id: path text
-- param user: path text
-- rows: exec

DELETE FROM members m
USING teams t, users u
WHERE t.public_id = :public_id
  AND u.public_id = :user
  AND m.team_id = t.id
  AND m.user_id = u.id
