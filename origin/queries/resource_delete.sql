-- route: DELETE /resources/{public_id}
-- summary: Marks a resource as deleted; its row stays for those who refer to it
-- param public_id: path text
-- rows: exec
-- if_match: version

UPDATE resources r
SET is_deleted = true,
    updated_at = now(),
    version = r.version + 1
WHERE r.public_id = :public_id
  AND NOT r.is_deleted
  AND r.version = :if_match -- when if_match
