-- route: GET /users/{public_id}/unread
-- summary: The chats in which a user has not read everything, what they joined last first
-- param public_id: path text
-- rows: many
-- body: columns
-- read: replica; max_lag: 2s
-- tags: user:{public_id} user:{public_id}:unread chat:{chat_id}
-- table chat_participants: user:{user_id.public_id}:unread
-- table chats: chat:{id}
-- table users: user:{public_id}
-- cache: max-age=1, s-maxage=10
-- index: user_public_id_key chat_participant_unread

SELECT c.public_id, c.name, p.last_read_at, c.id AS _chat_id
FROM chat_participants p
JOIN chats c ON c.id = p.chat_id AND NOT c.is_private
WHERE p.user_id = (SELECT u.id FROM users u WHERE u.public_id = :public_id AND NOT u.is_private)
  AND p.has_unread
ORDER BY p.created_at DESC, p.id DESC
LIMIT 100
