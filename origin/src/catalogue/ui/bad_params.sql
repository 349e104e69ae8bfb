-- route: GET /things/{id}
-- param id: path int8 = 1
-- param Name: query text
-- param kind: querry text
-- param size: query
-- param none:
-- param size2: query int8 1..x = 5
-- param size3: query int8 1..10 = 11
-- param text: query text 1..10
-- param flag: query bool 1..2 = yes
-- param ids: query int8[] 0..9000 = 5
-- param list: path text[]
-- param before_it: query bool
-- param member: body text
-- param id: path int8
-- param cursor: query text
-- param more: query text maybe
-- rows: one

SELECT 1 AS body FROM things WHERE id = :id
