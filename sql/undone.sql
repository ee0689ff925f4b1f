-- Days as they were before a merge, but for the rows that somebody has changed since.
SELECT {{columns}}{{day_column}}
FROM (
  SELECT {{values}}, {{day}} AS _day, _c._change AND {{untouched}} AND _c._found IS NULL AS _removed
  FROM (SELECT * FROM {{target}} WHERE {{touched}}) AS _t
  LEFT JOIN (SELECT *, TRUE AS _change FROM {{changes}}) AS _c ON {{same_key}}
) AS _u
WHERE _removed IS NOT TRUE
