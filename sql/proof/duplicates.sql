-- Rows beyond the first of their key, by the first day on which it stands.
SELECT _of, SUM(_more) AS _rows
FROM (SELECT MIN({{day}}) AS _of, COUNT(*) - 1 AS _more FROM {{after}} AS _r GROUP BY {{key}} HAVING COUNT(*) > 1) AS _k
GROUP BY 1
ORDER BY 1
