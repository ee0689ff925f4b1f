-- Some of these keys.
SELECT DISTINCT {{key}}
FROM {{before}} AS r
JOIN {{after}} AS a ON {{same_key}}
WHERE {{blanked}}
LIMIT {{examples}}
