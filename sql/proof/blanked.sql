-- For each column the keys whose row knew it before and does not any more.
SELECT {{counts}}
FROM (SELECT {{key_columns}}, {{known}} FROM {{before}}) AS _r
JOIN (SELECT {{key_columns}}, {{known}} FROM {{after}}) AS _a ON {{same_key}}
