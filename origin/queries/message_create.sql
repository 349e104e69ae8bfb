-- route: POST /chats/{public_id}/messages
-- summary: Adds a message to a chat, which the other participants have not read yet
-- param public_id: path text
-- param user: body text required
-- param text: body text 1..10000 required
-- param parent: body text
-- rows: one
-- idempotency: optional

-- Only participants write; for others the chat is not there. No row has the id -1: the foreign key refuses a parent that is not
-- in the chat.
WITH made AS (
    INSERT INTO chat_messages (public_id, chat_id, user_id, parent_id, text)
    SELECT gen_random_uuid()::text, p.chat_id, p.user_id,
           CASE WHEN :parent::text IS NOT NULL
                THEN COALESCE((SELECT m.id FROM chat_messages m WHERE m.public_id = :parent AND m.chat_id = p.chat_id), -1) END,
           :text
    FROM chats c
    JOIN users u ON u.public_id = :user
    JOIN chat_participants p ON p.chat_id = c.id AND p.user_id = u.id
    WHERE c.public_id = :public_id
    RETURNING *),
-- Locked in one order, so that two messages at the same time never wait for each other.
others AS MATERIALIZED (
    SELECT p.id
    FROM made m
    JOIN chat_participants p ON p.chat_id = m.chat_id AND p.user_id <> m.user_id
    WHERE NOT p.has_unread
    ORDER BY p.id
    FOR NO KEY UPDATE OF p),
unread AS (
    UPDATE chat_participants p
    SET has_unread = true
    FROM others o
    WHERE p.id = o.id)
SELECT json_build_object(
           'publicId', m.public_id,
           'user', :user,
           'parent', :parent,
           'text', m.text,
           'createdAt', m.created_at) AS body
FROM made m
