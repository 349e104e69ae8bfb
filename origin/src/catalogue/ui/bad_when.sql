-- route: GET /things
-- param kind: query text = blue
-- param size: query int8
-- rows: many

SELECT 1 AS body FROM things
WHERE kind = :kind -- when kind
  AND size = :size -- when sise
  AND true         -- when cursor
