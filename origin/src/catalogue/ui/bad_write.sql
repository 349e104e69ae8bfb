-- route: PATCH /things/{id}
-- param id: path int8
-- param name: body text required
-- param things: body rows 1..6000
-- rows: cursor
-- read: replica
-- lane: slow
-- cache: max-age=5
-- total: exact 0
-- if_match: version
-- location: /things/{id}

UPDATE things SET name = :name, has = :has_nam WHERE id = :id
