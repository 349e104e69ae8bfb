-- route: DELETE /things/{id}
-- param id: path int8
-- rows: exec
-- tags: things
-- table things: things

DELETE FROM things WHERE id = :id
