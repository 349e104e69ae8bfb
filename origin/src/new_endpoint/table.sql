-- One table. Of its indexes those that can give an order; `name` of an index column is NULL for an expression, `is_plain` says
-- that it has the order that ORDER BY means without further words.
SELECT n.nspname AS schema,
       c.relname AS name,
       CASE WHEN pg_table_is_visible(c.oid) THEN '' ELSE quote_ident(n.nspname) || '.' END || quote_ident(c.relname) AS sql,
       pg_table_is_visible(c.oid) AS is_visible,
       c.relkind IN ('r', 'p') AS is_table,
       c.relkind = 'p' OR c.relhassubclass AS has_parts,
       to_regclass('larder_idempotency') IS NOT NULL AS has_idempotency,
       (SELECT json_agg(
                   json_build_object(
                       'name', a.attname,
                       'sql', quote_ident(a.attname),
                       'is_not_null', a.attnotnull OR y.typnotnull,
                       'has_default', a.atthasdef OR a.attidentity <> '' OR y.typdefault IS NOT NULL,
                       'is_made', a.attgenerated <> '' OR a.attidentity = 'a')
                   ORDER BY a.attnum)
        FROM pg_attribute a
             JOIN pg_type y ON y.oid = a.atttypid
        WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
       (SELECT json_agg(
                   json_build_object(
                       'name', x.relname,
                       'is_primary', i.indisprimary,
                       'is_unique', i.indisunique,
                       'predicate', pg_get_expr(i.indpred, i.indrelid, true),
                       'columns', (
                           SELECT json_agg(
                                      json_build_object(
                                          'name', a.attname,
                                          'is_descending', i.indoption[k] & 1 = 1,
                                          'is_plain', o.opcdefault
                                              AND i.indcollation[k] IN (0, coalesce(a.attcollation, 0))
                                              AND (i.indoption[k] & 1 = 1) = (i.indoption[k] & 2 = 2))
                                      ORDER BY k)
                           FROM generate_series(0, i.indnkeyatts - 1) k
                                JOIN pg_opclass o ON o.oid = i.indclass[k]
                                LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k] AND a.attnum > 0))
                   ORDER BY i.indisprimary DESC, x.relname)
        FROM pg_index i
             JOIN pg_class x ON x.oid = i.indexrelid
             JOIN pg_am m ON m.oid = x.relam
        WHERE i.indrelid = c.oid AND m.amname = 'btree' AND i.indisvalid AND i.indisready AND i.indislive) AS indexes,
       (SELECT json_agg(
                   json_build_object('column', a.attname, 'table', f.confrelid::int8, 'other', b.attname)
                   ORDER BY f.conname)
        FROM pg_constraint f
             JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[1]
             JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[1]
        WHERE f.conrelid = c.oid AND f.contype = 'f' AND cardinality(f.conkey) = 1) AS foreign_keys
FROM pg_class c
     JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.oid::int8 = $1
