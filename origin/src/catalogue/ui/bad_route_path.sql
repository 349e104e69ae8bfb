-- route: GET /things//{Id}
-- rows: one

SELECT 1 AS body
