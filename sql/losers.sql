-- Every row that is not the first of its key, with what it needs to be classed against its winner.
-- A rank of 1 in an order means that the row ties with the winner in it. All windows are one sort: the declared order
-- begins the total one.
SELECT * FROM (
  SELECT {{columns}},
    ROW_NUMBER() OVER (PARTITION BY {{key}} ORDER BY {{total_order}}) AS _place,
    RANK() OVER (PARTITION BY {{key}} ORDER BY {{total_order}}) AS _total_rank,
    RANK() OVER (PARTITION BY {{key}} ORDER BY {{declared_order}}) AS _declared_rank{{winner_values}}{{identity_ranges}}
  FROM (SELECT *, {{day}} AS _day FROM {{rows}})
)
WHERE _place > 1
