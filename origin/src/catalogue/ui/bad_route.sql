-- route: POST /things
-- rows: one

SELECT 1 AS body
