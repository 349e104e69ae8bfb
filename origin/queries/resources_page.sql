-- route: GET /resources
-- summary: What everyone may see, newest first, in pages
-- param limit: query int8 1..100 = 20
-- param type: query text
-- param team: query text
-- rows: cursor
-- body: columns
-- read: replica; max_lag: 5s
-- tags: resources resource:{id} user:{creator_id} team:{team}
-- table resources: resources
-- table resource_versions: resource:{root_id}
-- table users: user:{id}
-- table teams: team:{public_id}
-- cache: max-age=5, s-maxage=300, stale-while-revalidate=30
-- index: resource_page resource_page_by_type resource_page_by_team resource_version_latest

-- Any resource can come to stand on any page, so any change of one ends them all. Where that is too often, `resource:{id}` in the
-- place of `resources` keeps what is shown right, and leaves what is new to the lifetime.
-- The page is found first, in an index that has its order and all that is asked of it here, so that the index is read alone:
-- with the table in it, a plan for any type reads the index of all types, and for a rare one most of it. Then the rows of the
-- page are joined, no more than are asked for. The limit inside is a constant: the plan is made before :limit is known.
SELECT r.public_id,
       r.resource_type,
       r.score,
       r.bookmarks,
       r.views,
       r.created_at,
       v.public_id AS "version.public_id",
       v.version_label AS "version.version_label",
       v.name AS "version.name",
       v.is_complete AS "version.is_complete",
       u.public_id AS "creator.public_id",
       u.name AS "creator.name",
       u.handle AS "creator.handle",
       r.id AS _id,
       r.created_by_id AS _creator_id
FROM (
    SELECT r.created_at, r.id
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
    LIMIT :max_limit) page
JOIN resources r ON r.id = page.id
LEFT JOIN resource_versions v ON v.root_id = r.id AND v.is_latest
LEFT JOIN users u ON u.id = r.created_by_id AND NOT u.is_private
ORDER BY page.created_at DESC, page.id DESC -- unless before
ORDER BY page.created_at, page.id           -- when before
LIMIT :limit
