"""Results as Markdown, for people and for docs/performance.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.markdown import number, table
from protocols.he.engines import SEAL
from protocols.he.native_engine import NAMES

KILO = 1e3


def engine_name(engine: str) -> str:
    """For people."""
    return "SEAL" if engine == SEAL else NAMES[engine]


def product_name(shape: Sequence[int]) -> str:
    """m x k x n."""
    return " x ".join(map(str, shape))


def engines_table(found: dict[str, Any]) -> str:
    """By shape and engine: what a batch waits for + what is made beside it; how many times as long SEAL takes."""
    by_shape: dict[tuple[int, ...], list[dict[str, Any]]] = {}
    for each in found["products"]:
        by_shape.setdefault(tuple(each["shape"]), []).append(each)
    rows = []
    for shape, products in by_shape.items():
        cells = [each["cpu_milliseconds"] for each in products]
        best = min(each["awaited"] for each in cells)
        seal = next((f"{number(times['awaited'] / best)} times" for each, times in zip(products, cells)
                     if each["engine"] == SEAL), "")  # fmt: skip
        times = [f"{number(each['awaited'])} + {number(each['prepared'])}" for each in cells]
        rows.append([product_name(shape), *times, seal, _kilobytes(products[0])])
    names = [engine_name(each["engine"]) for each in next(iter(by_shape.values()))]
    return table(["product", *names, "SEAL / best", "kB there + back"], rows)


def growth_table(found: dict[str, Any]) -> str:
    """By width, then by batch."""
    rows = []
    for each in found["products"]:
        times = each["cpu_milliseconds"]
        steps = [number(times[step]) for step in ("encrypt", "load", "multiply_add", "decrypt", "awaited", "prepared")]
        rows.append([product_name(each["shape"]), *steps, _kilobytes(each)])
    headings = ("product", "encrypt", "load", "multiply_add", "decrypt", "in all", "prepare", "kB there + back")
    return table(headings, rows)


def bound_table(found: dict[str, Any]) -> str:
    """By shape and step: measured milliseconds, and which part of it the counted work takes."""
    steps = ("prepare operand", "prepare product", "load", "multiply_add", "decrypt")
    rows = []
    for each in found["products"]:
        cells = []
        for step in steps:
            line = each["steps"][step]
            cells.append(f"{number(line['cpu_milliseconds'])} ({line['share']:.0%})")
        work = each["steps"]["multiply_add"]
        rows.append([product_name(each["shape"]), *cells, number(work["transforms"]),
                     number(work["multiply_accumulates"] / 1e6)])  # fmt: skip
    rates = found["rates"]
    return (
        table(["product", *steps, "transforms of multiply_add", "million multiply-accumulates"], rows)
        + f"\nOne core: a transform {number(rates['transform'])} us, 8192 multiply-accumulates "
        f"{number(rates['multiply_accumulate'])} us, {number(rates['read'])} GB/s of memory.\n"
    )


TABLES = {"engines": engines_table, "growth": growth_table, "bound": bound_table}


def _kilobytes(product: dict[str, Any]) -> str:
    return " + ".join(number(product[name] / KILO) for name in ("operand_bytes", "reply_bytes"))
