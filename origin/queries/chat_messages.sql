-- route: GET /chats/{public_id}/messages
-- summary: What was said in a chat, newest first, in pages
-- param public_id: path text
-- param limit: query int8 1..100 = 50
-- rows: cursor
-- body: columns
-- read: replica; max_lag: 2s
-- tags: chat:{public_id} chat:{public_id}:messages user:{author_id}
-- table chat_messages: chat:{chat_id.public_id}:messages
-- table chats: chat:{public_id}
-- table users: user:{id}
-- cache: max-age=1, s-maxage=60
-- index: chat_public_id_key chat_message_page

SELECT m.public_id,
       m.text,
       m.created_at,
       m.updated_at,
       p.public_id AS answer_to,
       u.public_id AS "author.public_id",
       u.name AS "author.name",
       u.handle AS "author.handle",
       m.id AS _id,
       m.user_id AS _author_id
FROM (
    SELECT *
    FROM chat_messages m
    WHERE m.chat_id = (SELECT c.id FROM chats c WHERE c.public_id = :public_id AND NOT c.is_private)
      AND (m.created_at, m.id) < (:after_created_at, :after_id)   -- when cursor
      AND (m.created_at, m.id) > (:before_created_at, :before_id) -- when before
    ORDER BY m.created_at DESC, m.id DESC                         -- unless before
    ORDER BY m.created_at, m.id                                   -- when before
    LIMIT :max_limit) m
LEFT JOIN users u ON u.id = m.user_id AND NOT u.is_private
LEFT JOIN chat_messages p ON p.id = m.parent_id
ORDER BY m.created_at DESC, m.id DESC -- unless before
ORDER BY m.created_at, m.id           -- when before
LIMIT :limit
