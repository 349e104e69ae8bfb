-- route: GET /teams/{public_id}/export
-- summary: Everything of a team that everyone may see, newest first, sent while it is read
-- param public_id: path text
-- rows: many
-- body: columns
-- read: replica; max_lag: 60s
-- lane: slow
-- tags: resources team:{public_id}
-- index: team_public_id_key resource_page_by_team

SELECT r.public_id, r.resource_type, r.score, r.bookmarks, r.views, r.created_at, r.updated_at
FROM resources r
WHERE r.team_id = (SELECT t.id FROM teams t WHERE t.public_id = :public_id AND NOT t.is_private)
  AND NOT r.is_deleted
  AND NOT r.is_private
  AND r.has_complete_version
ORDER BY r.created_at DESC, r.id DESC
