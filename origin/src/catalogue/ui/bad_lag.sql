-- route: GET /things
-- rows: many
-- read: primary; max_lag: 5s

SELECT 1 AS body
