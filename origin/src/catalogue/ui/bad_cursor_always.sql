-- route: GET /things
-- param limit: query int8 1..100 = 20
-- param max_limit: query int8
-- rows: cursor

SELECT 1 AS body, id FROM things
WHERE id > :after_id
  AND true -- when cursor
LIMIT :limit
