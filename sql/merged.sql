-- The changed days of the target as they are after the merge: every row of theirs, those that stay as they are too.
-- Both sides are marked: of a row without a partner the other side is all NULL, and NULL may rank above any value.
SELECT {{columns}}{{day_column}}
FROM (
  SELECT {{values}}, {{day_after}} AS _day
  FROM (SELECT *, TRUE AS _found FROM {{target}} WHERE {{touched}}) AS _t
  FULL JOIN (SELECT *, TRUE AS _staged FROM {{staged}}) AS _s ON {{same_key}}
) AS _m
WHERE {{changed}}
