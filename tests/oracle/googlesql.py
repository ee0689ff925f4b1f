"""GoogleSQL as a judge: BigQuery's own analyzer and Google's reference evaluator, for tests only.

Reads one JSON object a line from stdin and answers one a line on stdout, in order; the first line it
writes is {"ready":true}. It ends when stdin does.

  {"op":"query","sql":"SELECT …","tables":{"p.d.t":{"columns":[["id","STRING"],…],"rows":[["a"],…]}}}
      -> {"columns":["id",…],"rows":[["a"],…]}      in the evaluator's order: sort before comparing
  {"op":"analyze","sql":"MERGE …","tables":{"p.d.t":{"columns":[["id","STRING"],…]}}}
      -> {"ok":true}
  any request that GoogleSQL refuses
      -> {"error":"Unrecognized name: nope [at 1:8]"}

Types: STRING INT64 FLOAT64 BOOL DATE TIMESTAMP, and DATETIME for statements that are not run. In JSON a TIMESTAMP is
an integer of microseconds since 1970-01-01 UTC, a DATE is "2025-10-01", the others are what they look like, NULL is
null. A table `p.d.t` is named as the statement names it in backquotes.

`googlesql.py --compile` only makes the compiled copy of the WebAssembly (half a minute of one core; it is
kept beside the Python environment, and every start after that takes about a second).
"""

import ctypes
import datetime
import json
import os
import sys
import tempfile

import tzdata
from wasmtime import Config, Engine, Linker, Module, Store, WasiConfig, WasmtimeError
from zetasql.wasi import get_wasm_path
from zetasql.wasi._pb2.zetasql.local_service import local_service_pb2 as service
from zetasql.wasi._pb2.zetasql.proto import options_pb2, simple_catalog_pb2
from zetasql.wasi._pb2.zetasql.public import options_pb2 as public_options
from zetasql.wasi._pb2.zetasql.public import simple_table_pb2, type_pb2, value_pb2

# What BigQuery's reference documents and our statements use, or a reviewer may want them to use. The
# library's "maximum features" would also let through what BigQuery refuses (ORDER BY on an array, lateral
# column references, MATCH_RECOGNIZE, …), so that list must not be the judge of what we send.
FEATURES = """
    ANALYTIC_FUNCTIONS QUALIFY NULLS_FIRST_LAST_IN_ORDER_BY
    NULL_HANDLING_MODIFIER_IN_AGGREGATE NULL_HANDLING_MODIFIER_IN_ANALYTIC
    HAVING_IN_AGGREGATE ORDER_BY_IN_AGGREGATE LIMIT_IN_AGGREGATE
    SELECT_STAR_EXCEPT_REPLACE WITH_ON_SUBQUERY WITH_RECURSIVE IS_DISTINCT SAFE_FUNCTION_CALL
    GROUP_BY_ALL GROUP_BY_ROLLUP GROUPING_SETS GROUPING_BUILTIN PIVOT UNPIVOT TABLESAMPLE
    CIVIL_TIME DATE_TIME_CONSTRUCTORS EXTENDED_DATE_TIME_SIGNATURES DATE_ARITHMETICS WEEK_WITH_WEEKDAY
    INTERVAL_TYPE NUMERIC_TYPE BIGNUMERIC_TYPE JSON_TYPE JSON_VALUE_EXTRACTION_FUNCTIONS
    ADDITIONAL_STRING_FUNCTIONS CONCAT_MIXED_TYPES FORMAT_IN_CAST PARAMETERIZED_TYPES
    DML_UPDATE_WITH_JOIN OMIT_INSERT_COLUMN_LIST ALLOW_DASHES_IN_TABLE_NAME FOR_SYSTEM_TIME_AS_OF
    CREATE_TABLE_PARTITION_BY CREATE_TABLE_CLUSTER_BY CREATE_TABLE_NOT_NULL CREATE_TABLE_LIKE
    CREATE_TABLE_COPY CREATE_SNAPSHOT_TABLE
""".split()

TYPES = {
    "STRING": type_pb2.TYPE_STRING,
    "INT64": type_pb2.TYPE_INT64,
    "FLOAT64": type_pb2.TYPE_DOUBLE,
    "BOOL": type_pb2.TYPE_BOOL,
    "DATE": type_pb2.TYPE_DATE,
    "TIMESTAMP": type_pb2.TYPE_TIMESTAMP,
    "DATETIME": type_pb2.TYPE_DATETIME,
}
EPOCH = datetime.date(1970, 1, 1)


class Refused(Exception):
    """GoogleSQL's own words about a statement."""


class Bridge:
    """The WebAssembly module and its one calling convention: protobuf in, protobuf out.

    The package has such a client too. It compiles the module at every start and copies memory byte by byte.
    """

    def __init__(self):
        config = Config()
        config.shared_memory = True
        # Compiles twice as fast as the default, and our queries are too small to notice.
        config.cranelift_opt_level = "none"
        engine = Engine(config)
        self.store = Store(engine)
        wasi = WasiConfig()
        wasi.inherit_stderr()
        wasi.preopen_dir(os.path.join(os.path.dirname(tzdata.__file__), "zoneinfo"), "/usr/share/zoneinfo")
        self.store.set_wasi(wasi)
        linker = Linker(engine)
        linker.define_wasi()
        self.exports = linker.instantiate(self.store, load(engine)).exports(self.store)
        if "_initialize" in self.exports:
            self.run("_initialize")
        self.memory = self.exports["memory"]

    def run(self, function, *args):
        return self.exports[function](self.store, *args)

    def address(self, pointer):
        return ctypes.cast(self.memory.data_ptr(), ctypes.c_void_p).value + pointer

    def call(self, method, request, response_type):
        data = request.SerializeToString()
        request_at = self.run("wasm_malloc", len(data))
        size_at = self.run("wasm_malloc", 4)
        try:
            ctypes.memmove(self.address(request_at), data, len(data))
            answer_at = self.run(f"ZetaSqlLocalService_{method}", request_at, len(data), size_at)
            if answer_at == 0:
                size = self.run("wasm_get_last_error_size")
                text = ctypes.string_at(self.address(self.run("wasm_get_last_error")), size).decode()
                raise Refused(text.partition("Message: ")[2] or text)
            size = int.from_bytes(ctypes.string_at(self.address(size_at), 4), "little")
            answer = ctypes.string_at(self.address(answer_at), size)
            self.run("wasm_free", answer_at)
            return response_type.FromString(answer)
        finally:
            self.run("wasm_free", request_at)
            self.run("wasm_free", size_at)


def load(engine):
    """The module, compiled once per Python environment."""
    compiled_path = os.path.join(sys.prefix, "googlesql.cwasm")
    try:
        return Module.deserialize_file(engine, compiled_path)
    except (WasmtimeError, OSError):
        pass  # Not there yet, or made by another version or for another processor.
    module = Module.from_file(engine, get_wasm_path())
    handle, draft_path = tempfile.mkstemp(dir=sys.prefix)
    with os.fdopen(handle, "wb") as draft:
        draft.write(module.serialize())
    os.replace(draft_path, compiled_path)
    return module


class GoogleSql:
    def __init__(self):
        self.bridge = Bridge()
        self.options = self.bridge.call(
            "GetAnalyzerOptions", service.AnalyzerOptionsRequest(), options_pb2.AnalyzerOptionsProto
        )
        # GoogleSQL's own default is a Californian day; BigQuery's is UTC.
        self.options.default_timezone = "UTC"
        language = self.options.language_options
        language.Clear()
        language.product_mode = public_options.PRODUCT_EXTERNAL
        language.enabled_language_features.extend(
            public_options.LanguageFeature.Value(f"FEATURE_{name}") for name in FEATURES
        )
        # BigQuery reserves it. Unreserved, the analyzer demands a WHERE, GROUP BY or HAVING beside it.
        language.reserved_keywords.append("QUALIFY")
        self.pools = service.DescriptorPoolListProto()
        self.pools.definitions.add().builtin.SetInParent()
        self.prepared = {}

    def answer(self, request):
        if request["op"] == "analyze":
            self.analyze(request["sql"], request["tables"])
            return {"ok": True}
        if request["op"] == "query":
            return self.query(request["sql"], request["tables"])
        raise ValueError(f"no such op: {request['op']}")

    def analyze(self, sql, tables):
        self.bridge.call(
            "Analyze",
            service.AnalyzeRequest(
                sql_statement=sql,
                options=self.options,
                simple_catalog=self.catalog(tables),
                descriptor_pool_list=self.pools,
            ),
            service.AnalyzeResponse,
        )

    def query(self, sql, tables):
        shape = json.dumps([sql, {name: table["columns"] for name, table in tables.items()}])
        if shape not in self.prepared:
            self.prepared[shape] = self.prepare(sql, tables)
        prepared = self.prepared[shape]
        request = service.EvaluateQueryRequest(prepared_query_id=prepared.prepared_query_id)
        for position, table in enumerate(tables.values()):
            parameter = request.params.add(name=f"table_{position}")
            kinds = [kind for _, kind in table["columns"]]
            parameter.value.array_value.SetInParent()
            for row in table["rows"]:
                if len(row) != len(kinds):
                    raise ValueError(f"row of {len(row)} cells for {len(kinds)} columns")
                cells = parameter.value.array_value.element.add().struct_value
                for kind, value in zip(kinds, row):
                    set_cell(cells.field.add(), kind, value)
        content = self.bridge.call("EvaluateQuery", request, service.EvaluateQueryResponse).content
        return {
            "columns": [column.name for column in prepared.columns],
            "rows": [[get_cell(cell) for cell in row.cell] for row in content.table_data.row],
        }

    def prepare(self, sql, tables):
        """Plans a query once, so that every further set of rows costs milliseconds.

        A table of the catalog gets its rows when the query is planned, which takes a tenth of a second each
        time. So the statement is judged as it stands, and then run over rows that come in as parameters.
        """
        self.analyze(sql, tables)
        options = options_pb2.AnalyzerOptionsProto()
        options.CopyFrom(self.options)
        sources = []
        for position, (name, table) in enumerate(tables.items()):
            parameter = options.query_parameters.add(name=f"table_{position}")
            parameter.type.type_kind = type_pb2.TYPE_ARRAY
            element = parameter.type.array_type.element_type
            element.type_kind = type_pb2.TYPE_STRUCT
            for column, kind in table["columns"]:
                element.struct_type.field.add(field_name=column).field_type.type_kind = TYPES[kind]
            sources.append(f"`{name}` AS (SELECT * FROM UNNEST(@table_{position}))")
        body = sql.strip().removesuffix(";")
        return self.bridge.call(
            "PrepareQuery",
            service.PrepareQueryRequest(
                sql=f"WITH {', '.join(sources)} (\n{body}\n)" if sources else body,
                options=options,
                simple_catalog=self.catalog({}),
                descriptor_pool_list=self.pools,
            ),
            service.PrepareQueryResponse,
        ).prepared

    def catalog(self, tables):
        catalog = simple_catalog_pb2.SimpleCatalogProto(name="tests")
        catalog.builtin_function_options.language_options.CopyFrom(self.options.language_options)
        for name, table in tables.items():
            # A name in backquotes is one identifier to GoogleSQL, dots and all.
            entry = simple_table_pb2.SimpleTableProto(name=name)
            for column, kind in table["columns"]:
                entry.column.add(name=column).type.type_kind = TYPES[kind]
            catalog.table.append(entry)
        return catalog


def set_cell(cell, kind, value):
    """Writes one value; a cell that nothing is written to is NULL."""
    if value is None:
        return
    if kind == "STRING":
        cell.string_value = value
    elif kind == "INT64":
        cell.int64_value = value
    elif kind == "FLOAT64":
        cell.double_value = value
    elif kind == "BOOL":
        cell.bool_value = value
    elif kind == "DATE":
        cell.date_value = (datetime.date.fromisoformat(value) - EPOCH).days
    elif kind == "TIMESTAMP":
        seconds, micros = divmod(value, 1_000_000)
        cell.timestamp_value.seconds = seconds
        cell.timestamp_value.nanos = micros * 1000


def get_cell(cell: value_pb2.ValueProto):
    kind = cell.WhichOneof("value")
    if kind is None:
        return None
    if kind == "timestamp_value":
        return cell.timestamp_value.seconds * 1_000_000 + cell.timestamp_value.nanos // 1000
    if kind == "date_value":
        return (EPOCH + datetime.timedelta(days=cell.date_value)).isoformat()
    if kind in ("string_value", "int64_value", "double_value", "bool_value"):
        return getattr(cell, kind)
    raise ValueError(f"a {kind} has no JSON form here: cast it in the query")


def main():
    if sys.argv[1:] == ["--compile"]:
        Bridge()
        return
    googlesql = GoogleSql()
    print('{"ready":true}', flush=True)
    for line in sys.stdin:
        try:
            answer = json.dumps(googlesql.answer(json.loads(line)), allow_nan=False, separators=(",", ":"))
        except Refused as refusal:
            answer = json.dumps({"error": str(refusal)})
        except (KeyError, TypeError, ValueError) as error:
            answer = json.dumps({"error": f"bad request: {type(error).__name__}: {error}"})
        print(answer, flush=True)


if __name__ == "__main__":
    main()
