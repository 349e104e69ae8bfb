-- route: GET /things/{id}
-- param id: path int8
-- param kinds: query text[]
-- rows: one
-- tags: thing:{id} thing:{id}:parts kind:{kinds}:{id} fixed
-- table: thing:{id}
-- table "Things": thing:{id}
-- table things: thing:{id} thing:{owner_id.name.x}
-- table public.things: thing:{id}
-- table parts: thing:{thing_id}:part
-- table owners: owner:{id}
-- table kinds: ttl kind:{id}
-- table colours:
-- table shop.prices: fixd
-- tables prices: ttl
-- cache: max-age=5

SELECT 1 AS body, :id, :kinds
