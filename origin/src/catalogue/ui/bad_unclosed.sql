-- route: GET /things
-- rows: many

SELECT 'it''s AS body
FROM things
