"""What Google's own Python client sees in a dataset: its tables, and one of them in full, as one line of JSON.

usage: bigquery_client.py ENDPOINT PROJECT DATASET TABLE
"""

import json
import sys

from google.api_core.client_options import ClientOptions
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery

endpoint, project, dataset, name = sys.argv[1:]
client = bigquery.Client(
    project=project, credentials=AnonymousCredentials(), client_options=ClientOptions(api_endpoint=endpoint)
)
table = client.get_table(f"{project}.{dataset}.{name}")
count, keys = next(
    iter(
        client.query(
            f"SELECT COUNT(*), COUNT(DISTINCT CONCAT(wallet_address, '/', tx_hash, '/', COALESCE(order_hash, '')))"
            f" FROM `{project}.{dataset}.{name}`"
        ).result()
    )
)
print(
    json.dumps(
        {
            "tables": [other.table_id for other in client.list_tables(f"{project}.{dataset}")],
            "schema": [[field.name, field.field_type, field.mode] for field in table.schema],
            "partition": [table.time_partitioning.type_, table.time_partitioning.field],
            "cluster": table.clustering_fields,
            "labels": sorted(table.labels),
            "rows": count,
            "keys": keys,
        }
    )
)
