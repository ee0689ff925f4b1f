-- Rows that stand higher in the declared order than the target's row of their key.
SELECT {{day}} AS _of, COUNT(*) AS _rows
FROM {{rows}} AS _r
JOIN {{after}} AS _a ON {{same_key}}
WHERE {{higher}}
GROUP BY 1
ORDER BY 1
