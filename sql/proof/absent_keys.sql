-- Some of those keys.
SELECT {{key}}
FROM {{rows}} AS _r
LEFT JOIN (SELECT {{key_columns}}, TRUE AS _found FROM {{after}}) AS _a ON {{same_key}}
WHERE _a._found IS NULL AND NOT {{without_key}}
GROUP BY {{key}}
HAVING COUNT(*) > 0
LIMIT 10
