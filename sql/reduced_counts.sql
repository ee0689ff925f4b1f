-- What became of all rows, summed from the winners, by day and by what may be decided about their keys.
SELECT {{day}} AS _day, _suspect, _conflict > 0 AS _conflicting,
  COUNT(*) AS _keys,
  SUM(_rows) AS _rows,
  SUM(_exact) AS _exact,
  SUM(_superseded) AS _superseded,
  SUM(_conflict) AS _conflict,
  SUM(CASE WHEN _redated THEN 1 ELSE 0 END) AS _redated_keys,
  SUM(CASE WHEN _redated THEN _rows ELSE 0 END) AS _redated_rows,
  SUM(_redated_by_hours) AS _redated_by_hours
FROM {{reduced}}
WHERE _place = 1
GROUP BY 1, 2, 3
