-- route: FETCH /things
-- rows: one

SELECT 1 AS body
