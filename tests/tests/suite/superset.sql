-- What Apache Superset 6.1.0 (SQLAlchemy 1.4.54, psycopg2 2.9.13) sent to a node of the sample alliance, recorded where it
-- calls psycopg2: connecting, looking at the table, SQL Lab, datasets, charts, filters. Each is sent on a connection of its own.
-- answered: costs nothing; asked: costs once; again: was asked before, whatever is around it; else the SQLSTATE.
-- 实录的 Superset 语句，逐条重放。

--! answered
select pg_catalog.version()

--! answered
select current_schema()

--! answered
show transaction isolation level

--! answered
show standard_conforming_strings

--! answered
SELECT 1

--! answered
SELECT nspname FROM pg_namespace WHERE nspname NOT LIKE 'pg_%' ORDER BY nspname

--! answered
SELECT c.oid
            FROM pg_catalog.pg_class c
            LEFT JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
            WHERE (n.nspname = 'public')
            AND c.relname = 'purchases' AND c.relkind in
            ('r', 'v', 'm', 'f', 'p')

--! answered
SELECT a.attname,
              pg_catalog.format_type(a.atttypid, a.atttypmod),
              (
                SELECT pg_catalog.pg_get_expr(d.adbin, d.adrelid)
                FROM pg_catalog.pg_attrdef d
                WHERE d.adrelid = a.attrelid AND d.adnum = a.attnum
                AND a.atthasdef
              ) AS DEFAULT,
              a.attnotnull,
              a.attrelid as table_oid,
              pgd.description as comment,
              a.attgenerated as generated,
                              (SELECT json_build_object(
                    'always', a.attidentity = 'a',
                    'start', s.seqstart,
                    'increment', s.seqincrement,
                    'minvalue', s.seqmin,
                    'maxvalue', s.seqmax,
                    'cache', s.seqcache,
                    'cycle', s.seqcycle)
                FROM pg_catalog.pg_sequence s
                JOIN pg_catalog.pg_class c on s.seqrelid = c."oid"
                WHERE c.relkind = 'S'
                AND a.attidentity != ''
                AND s.seqrelid = pg_catalog.pg_get_serial_sequence(
                    a.attrelid::regclass::text, a.attname
                )::regclass::oid
                ) as identity_options
            FROM pg_catalog.pg_attribute a
            LEFT JOIN pg_catalog.pg_description pgd ON (
                pgd.objoid = a.attrelid AND pgd.objsubid = a.attnum)
            WHERE a.attrelid = 16384
            AND a.attnum > 0 AND NOT a.attisdropped
            ORDER BY a.attnum

--! answered
SELECT t.typname as "name",
               pg_catalog.format_type(t.typbasetype, t.typtypmod) as "attype",
               not t.typnotnull as "nullable",
               t.typdefault as "default",
               pg_catalog.pg_type_is_visible(t.oid) as "visible",
               n.nspname as "schema"
            FROM pg_catalog.pg_type t
               LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
            WHERE t.typtype = 'd'

--! answered
SELECT t.typname as "name",
               -- no enum defaults in 8.4 at least
               -- t.typdefault as "default",
               pg_catalog.pg_type_is_visible(t.oid) as "visible",
               n.nspname as "schema",
               e.enumlabel as "label"
            FROM pg_catalog.pg_type t
                 LEFT JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
                 LEFT JOIN pg_catalog.pg_enum e ON t.oid = e.enumtypid
            WHERE t.typtype = 'e'
        ORDER BY "schema", "name", e.oid

--! answered
SELECT a.attname
                FROM pg_attribute a JOIN (
                    SELECT unnest(ix.indkey) attnum,
                           generate_subscripts(ix.indkey, 1) ord
                    FROM pg_index ix
                    WHERE ix.indrelid = 16384 AND ix.indisprimary
                    ) k ON a.attnum=k.attnum
                WHERE a.attrelid = 16384
                ORDER BY k.ord

--! answered
SELECT conname
           FROM  pg_catalog.pg_constraint r
           WHERE r.conrelid = 16384 AND r.contype = 'p'
           ORDER BY 1

--! answered
SELECT r.conname,
                pg_catalog.pg_get_constraintdef(r.oid, true) as condef,
                n.nspname as conschema
          FROM  pg_catalog.pg_constraint r,
                pg_namespace n,
                pg_class c

          WHERE r.conrelid = 16384 AND
                r.contype = 'f' AND
                c.oid = confrelid AND
                n.oid = c.relnamespace
          ORDER BY 1

--! answered
SELECT
                  i.relname as relname,
                  ix.indisunique, ix.indexprs,
                  a.attname, a.attnum, c.conrelid, ix.indkey::varchar,
                  ix.indoption::varchar, i.reloptions, am.amname,
                  pg_get_expr(ix.indpred, ix.indrelid),
                  ix.indnkeyatts as indnkeyatts
              FROM
                  pg_class t
                        join pg_index ix on t.oid = ix.indrelid
                        join pg_class i on i.oid = ix.indexrelid
                        left outer join
                            pg_attribute a
                            on t.oid = a.attrelid and a.attnum = ANY(ix.indkey)
                        left outer join
                            pg_constraint c
                            on (ix.indrelid = c.conrelid and
                                ix.indexrelid = c.conindid and
                                c.contype in ('p', 'u', 'x'))
                        left outer join
                            pg_am am
                            on i.relam = am.oid
              WHERE
                  t.relkind IN ('r', 'v', 'f', 'm', 'p')
                  and t.oid = 16384
                  and ix.indisprimary = 'f'
              ORDER BY
                  t.relname,
                  i.relname

--! answered
SELECT
                cons.conname as name,
                cons.conkey as key,
                a.attnum as col_num,
                a.attname as col_name
            FROM
                pg_catalog.pg_constraint cons
                join pg_attribute a
                  on cons.conrelid = a.attrelid AND
                    a.attnum = ANY(cons.conkey)
            WHERE
                cons.conrelid = 16384 AND
                cons.contype = 'u'

--! answered
SELECT
                cons.conname as name,
                pg_get_constraintdef(cons.oid) as src
            FROM
                pg_catalog.pg_constraint cons
            WHERE
                cons.conrelid = 16384 AND
                cons.contype = 'c'

--! answered
SELECT
                pgd.description as table_comment
            FROM
                pg_catalog.pg_description pgd
            WHERE
                pgd.objsubid = 0 AND
                pgd.objoid = 16384

--! answered
select relname from pg_class c join pg_namespace n on n.oid=c.relnamespace where n.nspname='public' and relname='purchases'

--! answered
SELECT datname FROM pg_database
WHERE datistemplate = false;

--! answered
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind in ('r', 'p')

--! answered
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind = 'f'

--! answered
SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'public' AND c.relkind IN ('v', 'm')

--! answered
SELECT pg_backend_pid()

--! answered
EXPLAIN SELECT department, count(*) AS n FROM purchases GROUP BY department

--! asked
SELECT
  department,
  COUNT(*) AS n
FROM purchases
GROUP BY
  department
LIMIT 1001

--! 0A000
SELECT
  *
FROM public.purchases
LIMIT 1001

--! asked
SELECT
  department AS department,
  COUNT(*) AS count
FROM public.purchases
GROUP BY
  department
ORDER BY
  count DESC
LIMIT 1000

--! again
SELECT
  department AS department,
  COUNT(*) AS count
FROM public.purchases
GROUP BY
  department
ORDER BY
  count DESC
LIMIT 100

--! asked
SELECT
  department AS department,
  SUM(amount_fen) AS "SUM(amount_fen)"
FROM public.purchases
GROUP BY
  department
ORDER BY
  "SUM(amount_fen)" DESC
LIMIT 1000

--! asked
SELECT
  COUNT(DISTINCT member) AS "COUNT_DISTINCT(member)"
FROM public.purchases
LIMIT 1000

--! asked
SELECT
  DATE_TRUNC('MONTH', purchased_on) AS purchased_on,
  COUNT(*) AS count
FROM public.purchases
GROUP BY
  DATE_TRUNC('MONTH', purchased_on)
ORDER BY
  count DESC
LIMIT 1000

--! asked
SELECT
  DATE_TRUNC('MONTH', purchased_on) AS purchased_on,
  COUNT(*) AS count
FROM public.purchases
WHERE
  purchased_on >= TO_DATE('2017-01-01', 'YYYY-MM-DD')
  AND purchased_on < TO_DATE('2018-01-01', 'YYYY-MM-DD')
GROUP BY
  DATE_TRUNC('MONTH', purchased_on)
LIMIT 1000

--! asked
SELECT
  department AS department,
  COUNT(*) AS count
FROM public.purchases
WHERE
  department IN ('GROCERY', 'PRODUCE')
GROUP BY
  department
LIMIT 1000

--! 0A000
SELECT
  DATE_TRUNC('MONTH', purchased_on) AS purchased_on,
  department AS department,
  COUNT(*) AS count
FROM public.purchases
JOIN (
  SELECT
    department AS department__,
    COUNT(*) AS mme_inner__
  FROM public.purchases
  GROUP BY
    department
  ORDER BY
    COUNT(*) DESC
  LIMIT 3
) AS series_limit
  ON department = department__
GROUP BY
  DATE_TRUNC('MONTH', purchased_on),
  department
LIMIT 1000

--! answered
SELECT
  department AS department
FROM public.purchases
GROUP BY
  department
ORDER BY
  department ASC
LIMIT 1000

--! 0A000
SELECT
  department AS department,
  quantity AS quantity
FROM public.purchases
LIMIT 1000

--! 0A000
SELECT
  department AS department,
  MAX(amount_fen) AS "MAX(amount_fen)"
FROM public.purchases
GROUP BY
  department
LIMIT 1000

--! asked
SELECT
  DATE_TRUNC('DAY', purchased_on) AS purchased_on,
  COUNT(*) AS count
FROM public.purchases
GROUP BY
  DATE_TRUNC('DAY', purchased_on)
LIMIT 1000

--! asked
SELECT
  department AS department,
  COUNT(*) AS count
FROM public.purchases
GROUP BY
  department
HAVING
  (
    COUNT(*) > 100
  )
LIMIT 1000

--! answered
SELECT DISTINCT department AS column_values
FROM public.purchases
 LIMIT 10000

--! asked
SELECT
  department,
  COUNT(DISTINCT member) AS members
FROM purchases
GROUP BY
  department
LIMIT 1

--! again
SELECT
  department AS department,
  SUM(members) AS "SUM(members)"
FROM (
  SELECT
    department,
    COUNT(DISTINCT member) AS members
  FROM purchases
  GROUP BY
    department
) AS virtual_table
GROUP BY
  department
ORDER BY
  "SUM(members)" DESC
LIMIT 1000

--! again
SELECT
  department AS department,
  members AS members
FROM (
  SELECT
    department,
    COUNT(DISTINCT member) AS members
  FROM purchases
  GROUP BY
    department
) AS virtual_table
ORDER BY
  members DESC
LIMIT 1000

--! again
SELECT
  department AS department,
  SUM(members) AS "SUM(members)"
FROM (
  SELECT
    department,
    COUNT(DISTINCT member) AS members
  FROM purchases
  GROUP BY
    department
) AS virtual_table
WHERE
  department IN ('GROCERY')
GROUP BY
  department
LIMIT 1000

--! again
SELECT
  MAX(members) AS "MAX(members)"
FROM (
  SELECT
    department,
    COUNT(DISTINCT member) AS members
  FROM purchases
  GROUP BY
    department
) AS virtual_table
LIMIT 1000

--! again
SELECT DISTINCT department AS column_values
FROM (SELECT department, count(DISTINCT member) AS members FROM purchases GROUP BY department
) AS virtual_table
 LIMIT 10000
