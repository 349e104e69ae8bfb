-- route: GET /things
-- rows: many
-- tags: things
-- table things: things
-- cache: private, No-Store

SELECT 1 AS body
