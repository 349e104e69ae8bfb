-- route: GET /things
-- param a: query text
-- param b: query text
-- param c: query text
-- param d: query text
-- param e: query text
-- rows: many

SELECT 1 AS body FROM things WHERE true
AND a = :a -- when a
AND b = :b -- when b
AND c = :c -- when c
AND d = :d -- when d
AND e = :e -- when e
