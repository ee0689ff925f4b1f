-- What becomes of the rows that are read, and of how many.
SELECT _reason, COUNT(*) AS _rows
FROM ({{judged}}) AS _judged
GROUP BY _reason
