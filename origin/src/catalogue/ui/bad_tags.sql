-- route: GET /things
-- rows: many
-- tags: things,all thing:{Id} thing:{id ünused

SELECT 1 AS body
