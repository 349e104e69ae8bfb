-- A comment that belongs below.
-- rout: GET /things
-- colour: blue
-- rows: many
-- rows: one
-- read:
-- summary for people: Things
-- cache: max-age=5

SELECT 1 AS body
