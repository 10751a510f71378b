"""A `DataChecker` from a pandera schema. Its verdict names columns, checks and counts, and no value of a cell."""

from __future__ import annotations

import copy
from collections import Counter
from typing import Any

from protocols.core.wording import plural
from secure_hfl.data_checker import DataChecker
from secure_hfl.errors import ConfigurationError
from secure_hfl.tables.problems import check_extra
from secure_hfl.tables.sources import CsvSource, Source, open_source
from secure_hfl.tables.spec import DEFAULT_MISSING, Column, DateOrder, Kind

MOST_SAID = 20
"""Failures in a verdict; the rest are counted."""


class SchemaChecker(DataChecker):
    """A party's table against its own schema.

        schema = pandera.pandas.DataFrameSchema({"age": pandera.pandas.Column(float, Check.in_range(0, 120))})
        SchemaChecker("TASK_ID", schema, "patients.csv").execute_verification()

    A CSV file's numbers, dates and truth values are read as `secure-hfl table` reads them, unless the schema has a
    column as text; what the schema then still wants otherwise is converted by pandera.

    Args:
        task_id: see `DataChecker`.
        schema: a `DataFrameSchema` or `DataFrameModel` of pandera, for pandas.
        data, query: see `secure_hfl.tables.sources.open_source`.
        delimiter, encoding: of a CSV file; default: found.

    Raises:
        MissingExtra: pandera is not installed.
    """

    def __init__(
        self,
        task_id: str,
        schema: Any,
        data: Any,
        query: str | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
    ) -> None:
        check_extra("pandera", "schema", "checks by a schema")
        super().__init__(task_id)
        self._schema = _plain_schema(schema)
        self._data, self._query = data, query
        self._delimiter, self._encoding = delimiter, encoding

    def verify_data(self) -> tuple[bool, str]:
        """See `DataChecker`."""
        import pyarrow
        from pandera.errors import SchemaError, SchemaErrors

        source = open_source(self._data, self._query, self._delimiter, self._encoding)
        try:
            frame = _frame(source, self._schema)
            self._schema.validate(frame, lazy=True)
        except SchemaErrors as error:
            return False, f"{source.where}: {_said(error.failure_cases, source.names)}"
        except (SchemaError, pyarrow.ArrowException, TypeError, ValueError) as error:  # their texts hold values
            return False, f"{source.where} cannot be checked: {type(error).__name__}"
        return (
            True,
            f"{source.where}: {plural(len(frame), 'row')} of {plural(len(frame.columns), 'column')}, as in the schema",
        )


def _plain_schema(schema: Any) -> Any:
    """A `DataFrameSchema`, which converts what it is given."""
    made = schema.to_schema() if hasattr(schema, "to_schema") else schema
    if type(made).__name__ != "DataFrameSchema" or not type(made).__module__.startswith("pandera.api.pandas"):
        raise ConfigurationError("a schema is a DataFrameSchema or DataFrameModel of pandera.pandas")
    own = copy.deepcopy(made)
    own.coerce = True
    return own


def _said(failures: Any, columns: Any) -> str:
    """What failed, with counts. Of `failure_cases` all is used but the cases."""
    counts: Counter[tuple[str, str]] = Counter()
    known = {str(each) for each in columns}
    for context, column, check, case in zip(
        failures["schema_context"], failures["column"], failures["check"], failures["failure_case"]
    ):
        if check == "column_in_dataframe":  # the case is the name of a column that the schema has
            counts[f"column {str(case)!r}", "is not in the table"] += 1
        elif check == "column_in_schema":
            counts[f"column {str(case)!r}", "is not in the schema"] += 1
        else:
            name = str(column) if context == "Column" or str(column) in known else ""
            counts[f"column {name!r}" if name else "the table", str(check).split("(")[0]] += 1
    said = [
        f"{where} {check}" if check.startswith("is not in") else f"{where}: {count:,} fail {check}"
        for (where, check), count in counts.items()
    ]
    more = f"; and {len(said) - MOST_SAID} more" if len(said) > MOST_SAID else ""
    return "; ".join(said[:MOST_SAID]) + more


def _frame(source: Source, schema: Any) -> Any:
    """The table for pandas."""
    import pyarrow

    batches = list(source.batches())
    if not batches:
        return pyarrow.table({name: pyarrow.array([], pyarrow.string()) for name in source.names}).to_pandas()
    table = pyarrow.Table.from_batches(batches)
    if isinstance(source, CsvSource):
        for at, name in enumerate(source.names):
            wanted = getattr(schema.columns.get(name), "dtype", None)
            table = table.set_column(at, name, _typed(name, table.column(at), str(wanted), source.delimiter))
    return table.to_pandas()


def _typed(name: str, text: Any, wanted: str, delimiter: str | None) -> Any:
    """A CSV file's column as what it is found to be; text where the schema wants that."""
    import pyarrow

    from secure_hfl.tables import cells
    from secure_hfl.tables.decide import decide
    from secure_hfl.tables.profile import ColumnProfile

    whole = text.combine_chunks()
    plain = cells.without_missing(whole, DEFAULT_MISSING)
    if any(word in wanted for word in ("str", "object", "category")):
        return plain
    profile = ColumnProfile(name, DEFAULT_MISSING)
    profile.add(whole)
    found = decide(profile, delimiter=delimiter)
    if not isinstance(found, Column) or found.kind is Kind.CATEGORY:
        return plain
    if found.kind is Kind.DATE:
        seconds = cells.Dates(plain).seconds(found.date_order or DateOrder.YEAR_FIRST)
        return pyarrow.array(seconds * 1e6, from_pandas=True).cast(pyarrow.int64()).cast(pyarrow.timestamp("us"))
    values = cells.truths(plain) if found.kind is Kind.BOOLEAN else cells.numbers(plain, found.decimal)
    array = pyarrow.array(values, from_pandas=True)
    if found.kind is Kind.BOOLEAN and "bool" in wanted:
        return array.cast(pyarrow.bool_())
    return (
        array.cast(pyarrow.int64()) if "int" in wanted and not array.null_count and (values % 1 == 0).all() else array
    )
