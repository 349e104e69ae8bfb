-- route: GET /resources
-- summary: What everyone may see, newest first, in pages
-- param limit: query int8 1..100 = 20
-- param type: query text
-- param team: query text
-- rows: cursor
-- read: replica; max_lag: 5s
-- tags: resources resource:{id} user:{creator_id}
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_page resource_page_by_type resource_page_by_team resource_version_latest

-- The page is found first, in an index that has its order, and only its rows are joined. The limit inside is a constant: the
-- plan is made before :limit is known, and for many rows it would be another one.
SELECT json_build_object(
           'publicId', r.public_id,
           'resourceType', r.resource_type,
           'score', r.score,
           'bookmarks', r.bookmarks,
           'views', r.views,
           'createdAt', r.created_at,
           'version', CASE WHEN v.id IS NOT NULL THEN json_build_object(
               'publicId', v.public_id,
               'versionLabel', v.version_label,
               'name', v.name,
               'isComplete', v.is_complete) END,
           'creator', CASE WHEN u.id IS NOT NULL THEN json_build_object(
               'publicId', u.public_id,
               'name', u.name,
               'handle', u.handle) END) AS body,
       r.created_at,
       r.id,
       r.created_by_id AS creator_id
FROM (
    SELECT *
    FROM resources r
    WHERE NOT r.is_deleted
      AND NOT r.is_private
      AND r.has_complete_version
      AND r.resource_type = :type                                                               -- when type
      AND r.team_id = (SELECT t.id FROM teams t WHERE t.public_id = :team AND NOT t.is_private) -- when team
      AND (r.created_at, r.id) < (:after_created_at, :after_id)                                 -- when cursor
      AND (r.created_at, r.id) > (:before_created_at, :before_id)                               -- when before
    ORDER BY r.created_at DESC, r.id DESC                                                       -- unless before
    ORDER BY r.created_at, r.id                                                                 -- when before
    LIMIT :max_limit) r
LEFT JOIN resource_versions v ON v.root_id = r.id AND v.is_latest
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
ORDER BY r.created_at DESC, r.id DESC -- unless before
ORDER BY r.created_at, r.id           -- when before
LIMIT :limit
