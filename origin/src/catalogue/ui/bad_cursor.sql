-- route: GET /things
-- param limit: query int8 0..100
-- rows: cursor

SELECT 1 AS body FROM things
