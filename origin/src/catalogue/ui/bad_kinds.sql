-- route: GET /things
-- param limit: query int8 = 20
-- rows: page
-- lane: medium
-- body: xml
-- fields: some
-- total: roughly 10
-- if_match: Version
-- idempotency: optional
-- location: things/{id}

SELECT 1 AS body, :max_total, :if_match, :offset
