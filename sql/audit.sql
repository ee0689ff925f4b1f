-- What a table holds, by day: its rows, its keys, and what the other rows of a key are beside its first under the total
-- order. Only those are joined with it: most tables have few or none.
WITH ranked AS (
  SELECT {{columns}}, ROW_NUMBER() OVER (PARTITION BY {{key}} ORDER BY {{total_order}}) AS _place
  FROM {{target}}
  WHERE {{any_day}}
)
SELECT
  _day,
  COUNT(*) AS _rows,
  COUNT(CASE WHEN _place = 1 THEN 1 END) AS _keys,
  COUNT(CASE WHEN _place > 1 AND NOT _differs THEN 1 END) AS _exact,
  COUNT(CASE WHEN _place > 1 AND _differs AND _lower THEN 1 END) AS _superseded,
  COUNT(CASE WHEN _place > 1 AND _differs AND NOT _lower THEN 1 END) AS _conflict,
  COUNT(CASE WHEN _without_key THEN 1 END) AS _without_key,
  MAX(_time) AS _latest
FROM (
  SELECT
    {{day}} AS _day,
    {{time}} AS _time,
    _r._place AS _place,
    {{without_key}} AS _without_key,
    FALSE AS _differs,
    FALSE AS _lower
  FROM ranked AS _r
  WHERE _r._place = 1
  UNION ALL
  SELECT
    {{day}} AS _day,
    {{time}} AS _time,
    _r._place AS _place,
    {{without_key}} AS _without_key,
    {{unlike}} AS _differs,
    COALESCE({{lower}}, FALSE) AS _lower
  FROM (SELECT * FROM ranked WHERE _place > 1) AS _r
  LEFT JOIN (SELECT * FROM ranked WHERE _place = 1) AS _w ON {{same_key}}
) AS _a
GROUP BY _day
