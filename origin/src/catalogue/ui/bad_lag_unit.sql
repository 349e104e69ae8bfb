-- route: GET /things
-- rows: many
-- read: replica; max_lag: five

SELECT 1 AS body
