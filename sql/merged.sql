-- The changed days of the target as they are after the merge: every row of theirs, those that stay as they are too.
SELECT {{columns}}{{day_column}}
FROM (
  SELECT {{values}}, {{day_after}} AS _day
  FROM (SELECT *, TRUE AS _found FROM {{target}} WHERE {{touched}}) AS t
  FULL JOIN {{staged}} AS s ON {{same_key}}
) AS m
WHERE {{changed}}
