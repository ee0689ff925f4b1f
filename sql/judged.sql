-- The rules of landing over the rows of a table, and each with the contract's columns: why it does not land, where it
-- does not. What is given comes first, so that each value is made once.
SELECT {{values}},
  {{verdict}} AS _reason{{raw}}
FROM ({{given}}) AS _given
