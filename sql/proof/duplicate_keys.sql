-- Some of these keys.
SELECT {{key}}
FROM {{after}} AS _r
GROUP BY {{key}}
HAVING COUNT(*) > 1
LIMIT 10
