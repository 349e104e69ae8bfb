-- route: GET /things
-- rows: cursr
-- read: replika; max_lag: 5s

SELECT 1 AS body
