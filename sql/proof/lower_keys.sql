-- Some of their keys.
SELECT DISTINCT {{key}}
FROM {{rows}} AS r
JOIN {{after}} AS a ON {{same_key}}
WHERE {{higher}}
LIMIT {{examples}}
