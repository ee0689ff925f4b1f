-- The rows that are set aside, each as JSON, with the reason.
SELECT _reason, _row
FROM ({{judged}}) AS _judged
WHERE _reason <> {{outside}}
