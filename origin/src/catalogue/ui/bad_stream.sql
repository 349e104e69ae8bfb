-- route: GET /things
-- rows: many
-- lane: slow
-- tags: things thing:{id}

SELECT body, id FROM things
