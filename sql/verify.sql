-- What must hold after a merge: each winner's key is in the target once, no lower in the declared order than the winner.
SELECT
  COUNT(CASE WHEN _times = 0 THEN 1 END) AS missing,
  COUNT(CASE WHEN _times > 1 THEN 1 END) AS repeated,
  COUNT(CASE WHEN _lower = 1 THEN 1 END) AS lower
FROM (
  SELECT COUNT(_t._found) AS _times, MAX(CASE WHEN _t._found AND {{newer}} THEN 1 ELSE 0 END) AS _lower
  FROM {{staged}} AS _s
  LEFT JOIN (SELECT *, TRUE AS _found FROM {{target}} WHERE {{touched}}) AS _t ON {{same_key}}
  GROUP BY {{staged_key}}
) AS _v
