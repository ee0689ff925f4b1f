-- Some of these keys.
SELECT {{key}}
FROM (SELECT {{key_columns}}, {{known}} FROM {{before}}) AS _r
JOIN (SELECT {{key_columns}}, {{known}} FROM {{after}}) AS _a ON {{same_key}}
WHERE {{blanked}}
GROUP BY {{key}}
HAVING COUNT(*) > 0
LIMIT 10
