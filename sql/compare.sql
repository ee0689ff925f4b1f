-- What a MERGE would find: one row of counts over the staged winners and the touched days of the target.
-- Portable between the engines: neither FILTER nor COUNTIF is, and `new` is a word of GoogleSQL's own.
SELECT
  COUNT(*) AS staged,
  COUNT(CASE WHEN _found IS NULL THEN 1 END) AS absent,
  COUNT(CASE WHEN _found AND _newer THEN 1 END) AS newer,
  COUNT(CASE WHEN _found AND _older THEN 1 END) AS older,
  COUNT(CASE WHEN _found AND NOT _newer AND NOT _older AND NOT _differs THEN 1 END) AS same,
  COUNT(CASE WHEN _found AND NOT _newer AND NOT _older AND _differs THEN 1 END) AS conflict,
  COUNT(CASE WHEN _found AND _suspect THEN 1 END) AS suspect,
  COUNT(CASE WHEN _found AND _redated THEN 1 END) AS redated{{and_sum}}
FROM ({{joined}}) AS _j
