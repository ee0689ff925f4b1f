-- The keys on whose rows another key disagrees: it tells rows of one key apart, or puts rows of several together. They
-- come first in the join: they are the few of which a table of hashes is made.
WITH pairs AS (
  SELECT DISTINCT {{key_text}} AS _own, {{other_text}} AS _other
  FROM {{rows}}
),
apart AS (
  SELECT _own FROM pairs GROUP BY _own HAVING COUNT(*) > 1
  UNION DISTINCT
  SELECT _p._own AS _own
  FROM (SELECT _other FROM pairs GROUP BY _other HAVING COUNT(*) > 1) AS _o
  JOIN pairs AS _p ON _o._other = _p._other
)
SELECT {{named_key}}, COUNT(*) AS _rows
FROM apart AS _a
JOIN {{rows}} ON _a._own = {{key_text}}
GROUP BY {{key}}
