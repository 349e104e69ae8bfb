-- route: GET /things/{id}
-- param id: path int8
-- param unused: query text
-- rows: one

SELECT 1 AS body FROM things
WHERE id = :idd
  AND note <> ':quoted' -- and :this is a comment
  AND (created_at, id) < (:after_created_at, :after_id)
