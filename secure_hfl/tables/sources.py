"""Where rows come from: CSV, Parquet, a SQL query, or a frame of pandas, pyarrow or polars. In batches, repeatably.

A CSV file's cells come as text, so that "007" stays that; all others have types. Nobody holds all rows as text.
"""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

from protocols.core.errors import MissingExtra
from secure_hfl.errors import TableError
from secure_hfl.tables.csv_format import check_names, find_format, wrong_encoding
from secure_hfl.tables.problems import check_extra, rows

BATCH_ROWS = 1 << 16
MAX_COLUMNS = 4096
"""More are refused: a bottom model's first layer would have as many inputs, and each column is looked at."""

ADBC = "adbc+"
"""What the address of a database begins with that an ADBC driver reads."""

SQL_PASSWORD = "SECURE_HFL_SQL_PASSWORD"  # noqa: S105 - the variable's name
"""The variable that has a database's password, which no script keeps."""


class Source(Protocol):
    """A table.

    Attributes:
        where: what errors call it.
        delimiter, encoding: of a CSV file.
    """

    where: str
    delimiter: str | None
    encoding: str

    @property
    def names(self) -> tuple[str, ...]:
        """Of its columns."""

    def batches(self) -> Iterator[Any]:
        """All rows, as pyarrow's record batches; every call begins anew."""


def open_source(
    data: Any, query: str | None = None, delimiter: str | None = None, encoding: str | None = None
) -> Source:
    """The source of what a user gives.

    Args:
        data: a path (.parquet, else CSV), a frame of pandas, pyarrow or polars; with `query` a database's URL.
        query: SQL.
        delimiter, encoding: of a CSV file; default: found.

    Raises:
        TableError: it cannot be read as a table.
        MissingExtra: a library for it is not installed.
    """
    check_extra("pyarrow", "data", "tables")
    source: Source
    if query is not None:
        source = AdbcSource(str(data), query) if str(data).startswith(ADBC) else SqlSource(str(data), query)
    elif isinstance(data, (str, os.PathLike)):
        path = Path(data)
        is_parquet = path.suffix.lower() in (".parquet", ".pq")
        source = ParquetSource(path) if is_parquet else CsvSource(path, encoding, delimiter)
    else:
        source = FrameSource(data)
    if len(source.names) > MAX_COLUMNS:
        raise TableError(
            f"{source.where} has {len(source.names):,} columns, and a table may have {MAX_COLUMNS:,}; choose some, or "
            "reduce them (principal components), and write a smaller table"
        )
    return source


class CsvSource:
    """A CSV file. Blank lines, and rows of empty cells, are skipped."""

    def __init__(self, path: Path, encoding: str | None, delimiter: str | None) -> None:
        self.where, self._path = str(path), path
        self._format = find_format(path, encoding, delimiter)
        self.delimiter: str | None = self._format.delimiter
        self.encoding = self._format.encoding

    @property
    def names(self) -> tuple[str, ...]:
        """See `Source`."""
        return self._format.names

    def batches(self) -> Iterator[Any]:
        """See `Source`. Raises `TableError` after the last row if rows have too many cells or too few."""
        import pyarrow
        from pyarrow import csv

        ragged: list[int] = []

        def skip(row: Any) -> str:
            ragged.append(int(row.number or 0))
            return "skip"

        text = {name: pyarrow.string() for name in self.names}
        try:
            reader = csv.open_csv(
                self._path,
                read_options=csv.ReadOptions(
                    skip_rows=self._format.header_lines,
                    column_names=list(self.names),
                    encoding=self._format.encoding,
                    use_threads=False,  # else nobody knows a row's number
                    block_size=1 << 22,
                ),
                parse_options=csv.ParseOptions(
                    delimiter=self._format.delimiter, newlines_in_values=True, invalid_row_handler=skip
                ),
                convert_options=csv.ConvertOptions(column_types=text, strings_can_be_null=False, null_values=[]),
            )
            for batch in reader:
                yield _without_empty_rows(batch)
        except (pyarrow.ArrowInvalid, UnicodeDecodeError) as error:
            if isinstance(error, UnicodeDecodeError) or "UTF8" in str(error):
                raise wrong_encoding(self._path, self.encoding) from None
            if "Empty CSV" in str(error) or "no more data" in str(error).lower():
                return
            raise TableError(f"{self.where} cannot be read as CSV: {_without_values(error)}") from None
        if ragged:
            count = rows(len(ragged), "has", "have")
            raise TableError(
                f"{self.where}: {count} more or fewer cells than the header's {len(self.names)}, the first about line "
                f"{ragged[0]:,}; quote cells that hold {self.delimiter!r}, or say --delimiter"
            )


def _without_empty_rows(batch: Any) -> Any:
    """Without rows in which no cell holds anything: Excel writes some behind the last one."""
    import pyarrow.compute as pc

    empty = pc.equal(batch.column(0), "")
    for column in batch.columns[1:]:
        if not pc.any(empty).as_py():
            return batch
        empty = pc.and_(empty, pc.equal(column, ""))
    return batch.filter(pc.invert(empty))


class ParquetSource:
    """A Parquet file."""

    encoding = "utf-8"
    delimiter: str | None = None

    def __init__(self, path: Path) -> None:
        import pyarrow
        from pyarrow import parquet

        self.where = str(path)
        try:
            self._file = parquet.ParquetFile(path)
        except OSError as error:
            raise TableError(f"{path} cannot be read: {error.strerror or 'it is damaged'}") from error
        except pyarrow.ArrowInvalid:
            raise TableError(f"{path} is no Parquet file, or is damaged") from None
        check_names(self.where, list(self.names))

    @property
    def names(self) -> tuple[str, ...]:
        """See `Source`."""
        return tuple(self._file.schema_arrow.names)

    def batches(self) -> Iterator[Any]:
        """See `Source`."""
        yield from self._file.iter_batches(batch_size=BATCH_ROWS)


class FrameSource:
    """A frame in memory: pandas, polars, or a table of pyarrow."""

    encoding = "utf-8"
    delimiter: str | None = None

    def __init__(self, frame: Any) -> None:
        self._table = _arrow_table(frame)
        self.where = f"the {type(frame).__module__.split('.')[0]} table"
        check_names(self.where, self._table.column_names)

    @property
    def names(self) -> tuple[str, ...]:
        """See `Source`."""
        return tuple(self._table.column_names)

    def batches(self) -> Iterator[Any]:
        """See `Source`."""
        yield from self._table.to_batches(max_chunksize=BATCH_ROWS)


def _arrow_table(frame: Any) -> Any:
    import pyarrow

    library = type(frame).__module__.split(".")[0]
    if isinstance(frame, pyarrow.Table):
        return frame
    if library == "polars":
        return frame.to_arrow()
    if library != "pandas":
        raise TableError(f"a table is a path, or a frame of pandas, pyarrow or polars; not a {type(frame).__name__}")
    names = [str(name) for name in frame.columns]
    check_names("the pandas table", names)
    columns = []
    for at, name in enumerate(names):
        try:
            columns.append(pyarrow.chunked_array(pyarrow.array(frame.iloc[:, at], from_pandas=True)))
        except TypeError:  # it is chunked already
            columns.append(pyarrow.array(frame.iloc[:, at], from_pandas=True))
        except pyarrow.ArrowException:  # its text has values in it
            raise mixed_column("the pandas table", name) from None
    return pyarrow.Table.from_arrays(columns, names=names)


def mixed_column(where: str, name: str) -> TableError:
    """Cells of several types."""
    return TableError(
        f"{where}: column {name!r}: its cells are of several types, numbers and text for example; make them of one, "
        f"for example frame[{name!r}].astype(str), or drop it"
    )


def without_password(url: str) -> str:
    """A database's address as a script may hold it; a password in it goes into this process's environment."""
    if url.startswith(ADBC):
        split = urlsplit(url)
        if "password" in parse_qs(split.query):
            raise TableError(
                f"a database's password stands before the @ of its address, or in ${SQL_PASSWORD}, not behind ?"
            )
        if split.password is None:
            return url
        os.environ[SQL_PASSWORD] = unquote(split.password)
        user, at, place = split.netloc.rpartition("@")
        return urlunsplit(split._replace(netloc=f"{user.partition(':')[0]}{at}{place}"))
    check_extra("sqlalchemy", "sql", "SQL queries")
    import sqlalchemy

    address = sqlalchemy.make_url(url)
    if address.password is not None:
        os.environ[SQL_PASSWORD] = str(address.password)
        # Not by set(), which takes None for no change.
        parts = address.drivername, address.username, None, address.host, address.port, address.database, address.query
        address = sqlalchemy.URL.create(*parts)
    return address.render_as_string(hide_password=False)


class SqlSource:
    """A query, by SQLAlchemy. A second pass runs it again, so it should be ordered, or be of what does not change.

    Args:
        url: of the database; its password may be in $SECURE_HFL_SQL_PASSWORD.
        query: SQL.
    """

    encoding = "utf-8"
    delimiter: str | None = None

    def __init__(self, url: str, query: str) -> None:
        check_extra("sqlalchemy", "sql", "SQL queries")
        import sqlalchemy

        try:
            address = sqlalchemy.make_url(url)
            if address.password is None and (password := os.environ.get(SQL_PASSWORD)):
                address = address.set(password=password)
            self._engine = sqlalchemy.create_engine(address)
        except (sqlalchemy.exc.ArgumentError, ImportError, ValueError):
            raise TableError(
                f"{url.split('://')[0]}: no database that SQLAlchemy knows here; a URL is driver://user@host/database, "
                "and its driver must be installed"
            ) from None
        self.where, self._query = "the query", query
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """See `Source`."""
        if not self._names:
            for _ in self._results(1):
                break
        return self._names

    def batches(self) -> Iterator[Any]:
        """See `Source`."""
        import pyarrow

        for part in self._results(BATCH_ROWS):
            columns = []
            for name, values in zip(self._names, zip(*part)):
                try:
                    columns.append(pyarrow.array(values))
                except pyarrow.ArrowException:
                    raise mixed_column(self.where, name) from None
            yield pyarrow.RecordBatch.from_arrays(columns, names=list(self._names))

    def _results(self, size: int) -> Iterator[list[Any]]:
        import sqlalchemy

        try:
            with self._engine.connect() as connection:
                found = connection.execution_options(yield_per=size).execute(sqlalchemy.text(self._query))
                names = [str(each) for each in found.keys()]  # noqa: SIM118 - of a result, not of a dictionary
                check_names(self.where, names)
                self._names = tuple(names)
                for part in found.partitions(size):
                    yield [tuple(row) for row in part]
        except sqlalchemy.exc.SQLAlchemyError as error:
            cause = getattr(error, "orig", None) or error
            raise TableError(f"the query failed: {type(cause).__name__}: {_without_values(cause)}") from None


class AdbcSource:
    """A query, by a database's ADBC driver: columns come as Arrow's, and no cell is an object of Python's.

    Args:
        url: "adbc+DRIVER://...", as `adbc+postgresql://user@host/database` or `adbc+sqlite:///directory/file`; its
            password may be in $SECURE_HFL_SQL_PASSWORD. The driver is the package adbc-driver-DRIVER.
        query: SQL.
    """

    encoding = "utf-8"
    delimiter: str | None = None

    def __init__(self, url: str, query: str) -> None:
        self._uri = url.removeprefix(ADBC)
        driver = self._uri.partition(":")[0]
        check_extra("adbc_driver_manager", "adbc", "queries through ADBC")
        try:
            self._dbapi = importlib.import_module(f"adbc_driver_{driver}.dbapi")
        except ImportError:
            raise MissingExtra(f"{ADBC}{driver}: needs its driver: pip install adbc-driver-{driver}") from None
        if driver == "sqlite":
            self._uri = self._uri.removeprefix("sqlite://").removeprefix("/")
        self.where, self._query = "the query", query
        self._names: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """See `Source`."""
        if not self._names:
            for _ in self._results():
                break
        return self._names

    def batches(self) -> Iterator[Any]:
        """See `Source`."""
        yield from self._results()

    def _results(self) -> Iterator[Any]:
        import pyarrow

        try:
            with self._dbapi.connect(with_password(self._uri)) as connection, connection.cursor() as cursor:
                cursor.execute(self._query)
                reader = cursor.fetch_record_batch()
                check_names(self.where, list(reader.schema.names))
                self._names = tuple(reader.schema.names)
                yield from reader
        except (self._dbapi.Error, pyarrow.ArrowException, OSError) as error:
            raise TableError(f"the query failed: {type(error).__name__}: {_without_values(error)}") from None


def with_password(uri: str) -> str:
    """A database's address with the password of the environment, if it names a user and has none."""
    parts, password = urlsplit(uri), os.environ.get(SQL_PASSWORD)
    if not password or parts.username is None or parts.password is not None:
        return uri
    user, at, place = parts.netloc.rpartition("@")
    return urlunsplit(parts._replace(netloc=f"{user}:{quote(password, safe='')}{at}{place}"))


def _without_values(error: BaseException) -> str:
    """The first line of a library's error, up to where it shows what it has read."""
    return re.split(""": ['"]""", str(error).splitlines()[0])[0][:200] if str(error) else type(error).__name__
