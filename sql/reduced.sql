-- The rows of keys, each with its place in its key: the first is the one that sql/dedup.sql keeps, and says what became
-- of the others, so that nobody has to read them again. Only rows that somebody will look at are given.
-- Rows that rank first by the total order are equal to it in all that counts, those that rank first by the declared
-- order tie with it there: no two different rows tie in the total order.
SELECT {{columns}}, _place,
  CASE WHEN _place = 1 THEN NULL WHEN _level > 1 THEN 'superseded' WHEN _content > 1 THEN 'conflict' ELSE 'exact' END
    AS _class,
  _rows, _exact, _superseded, _conflict, _suspect, _redated, _redated_by_hours, _witness, _loser_days
FROM (
  SELECT *,
    COUNT(*) OVER ({{by_key}}) AS _rows,
    SUM(CASE WHEN _place > 1 AND _content = 1 THEN 1 ELSE 0 END) OVER ({{by_key}}) AS _exact,
    SUM(CASE WHEN _level > 1 THEN 1 ELSE 0 END) OVER ({{by_key}}) AS _superseded,
    SUM(CASE WHEN _content > 1 AND _level = 1 THEN 1 ELSE 0 END) OVER ({{by_key}}) AS _conflict,
    {{suspect}} AS _suspect,
    {{redated}} AS _redated,
    SUM(CASE WHEN {{by_hours}} THEN 1 ELSE 0 END) OVER ({{by_key}}) AS _redated_by_hours,
    {{witness}} AS _witness,
    {{loser_days}} AS _loser_days
  FROM (
    SELECT *,
      ROW_NUMBER() OVER ({{by_key}} ORDER BY {{total_order}}) AS _place,
      RANK() OVER ({{by_key}} ORDER BY {{total_order}}) AS _content,
      RANK() OVER ({{by_key}} ORDER BY {{order}}) AS _level{{of_winner}}
    FROM ({{landed}}) AS _landed
  ) AS _ranked
) AS _summed
WHERE {{kept}}
