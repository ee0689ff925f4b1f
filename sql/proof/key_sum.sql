-- How many different keys there are, and the sum of their numbers: the same for the same keys, whatever their order.
SELECT COUNT(*) AS _keys, {{sum}} AS _sum
FROM (SELECT DISTINCT {{key_text}} AS _key FROM {{rows}} AS _r) AS _k
