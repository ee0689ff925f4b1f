-- Some of their keys.
SELECT {{key}}
FROM {{rows}} AS _r
JOIN {{after}} AS _a ON {{same_key}}
WHERE {{higher}}
GROUP BY {{key}}
HAVING COUNT(*) > 0
LIMIT 10
