-- The keys on whose rows another key disagrees: it tells rows of one key apart, or puts rows of several together.
WITH pairs AS (
  SELECT DISTINCT {{key_text}} AS _own, {{other_text}} AS _other
  FROM {{rows}}
),
apart AS (
  SELECT _own FROM pairs GROUP BY _own HAVING COUNT(*) > 1
  UNION ALL
  SELECT _own FROM pairs WHERE _other IN (SELECT _other FROM pairs GROUP BY _other HAVING COUNT(*) > 1)
)
SELECT {{named_key}}, COUNT(*) AS _rows
FROM {{rows}}
WHERE {{key_text}} IN (SELECT _own FROM apart)
GROUP BY {{key}}
