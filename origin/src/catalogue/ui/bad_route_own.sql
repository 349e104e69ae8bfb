-- route: GET /-/metrics
-- rows: one

SELECT 1 AS body
