-- For each column the keys whose row knew it before and does not any more.
SELECT {{counts}}
FROM (SELECT {{key_columns}}, {{known}} FROM {{before}}) AS r
JOIN (SELECT {{key_columns}}, {{known}} FROM {{after}}) AS a ON {{same_key}}
