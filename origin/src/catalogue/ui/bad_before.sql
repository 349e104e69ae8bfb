-- route: GET /things
-- param limit: query int8 1..10 = 5
-- rows: cursor
-- total: estimate

SELECT body, id FROM things WHERE id > :before_id
AND id < :after_id -- when cursor
ORDER BY id LIMIT :limit
