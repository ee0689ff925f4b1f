-- How many keys rows have by another key, and on how many keys of each the two disagree.
WITH pairs AS (
  SELECT DISTINCT {{key_text}} AS _own, {{other_text}} AS _other
  FROM {{rows}}
)
SELECT
  (SELECT COUNT(DISTINCT _other) FROM pairs) AS other_keys,
  (SELECT COUNT(*) FROM (SELECT _own FROM pairs GROUP BY _own HAVING COUNT(*) > 1) AS _a) AS told_apart,
  (SELECT COUNT(*) FROM (SELECT _other FROM pairs GROUP BY _other HAVING COUNT(*) > 1) AS _b) AS put_together
