-- route: GET /things/{id}/{kind}
-- param id: query int8
-- param knd: path text
-- rows: one

SELECT 1 AS body FROM things WHERE id = :id AND kind = :kind
