-- For each column the keys whose row knew it before and does not any more.
SELECT {{counts}}
FROM {{before}} AS r
JOIN {{after}} AS a ON {{same_key}}
