-- Takes back what a merge has changed, but for the rows that somebody has changed since. Run twice, it changes nothing
-- the second time.
MERGE {{target}} AS _t
USING (SELECT * FROM {{changes}}) AS _c
ON {{same_key}}{{and_touched}}
WHEN MATCHED AND _c._found IS NULL AND {{untouched}} THEN
  DELETE
WHEN MATCHED AND _c._found AND {{untouched}} THEN
  UPDATE SET
    {{restored}}
