-- Days as they were before a merge, but for the rows that somebody has changed since.
SELECT {{columns}}{{day_column}}
FROM (
  SELECT {{values}}, {{day}} AS _day, c._change AND {{untouched}} AND c._found IS NULL AS _removed
  FROM (SELECT * FROM {{target}} WHERE {{touched}}) AS t
  LEFT JOIN (SELECT *, TRUE AS _change FROM {{changes}}) AS c ON {{same_key}}
) AS u
WHERE _removed IS NOT TRUE
