"""Gradient boosting on the joined table: what a table's task is measured by. scikit-learn's, with its own defaults."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from secure_hfl.tables.figures import figures
from secure_hfl.tables.rows import TableRows
from secure_hfl.tables.spec import Kind, LabelKind

MOST_CATEGORIES = 254
"""That it takes as such."""


def boosted(host: TableRows, tables: list[TableRows], train_ids: list[str], test_ids: list[str]) -> dict[str, float]:
    """Figures over the test rows; missing values and categories as it knows them itself."""
    label, all_labels = host.spec.label, host.labels
    if label is None or all_labels is None:
        raise ValueError("the Host has no labels")
    kind = label.kind
    columns, are_categories = zip(*(column for table in tables for column in _columns(table, train_ids + test_ids)))
    inputs = np.stack(columns, 1)
    labels = all_labels[host.rows_of(train_ids + test_ids)]
    count = len(train_ids)
    model = HistGradientBoostingRegressor if kind is LabelKind.REGRESSION else HistGradientBoostingClassifier
    weights = {} if kind is LabelKind.REGRESSION else {"class_weight": "balanced"}
    trained = model(categorical_features=list(are_categories), max_iter=300, random_state=0, **weights)
    trained.fit(inputs[:count], labels[:count])
    if kind is LabelKind.REGRESSION:
        outputs = trained.predict(inputs[count:])[:, None]
    else:
        outputs = np.log(np.maximum(trained.predict_proba(inputs[count:]), 1e-12))
    return figures(kind, torch.from_numpy(outputs), torch.from_numpy(labels[count:]))


def _columns(table: TableRows, ids: list[str]) -> list[tuple[npt.NDArray[np.float64], bool]]:
    rows = table.rows_of(ids)
    found = []
    for column in table.spec.columns:
        values = table.columns[column.name][rows].astype(np.float64)
        is_category = column.kind is Kind.CATEGORY and len(table.categories[column.name]) <= MOST_CATEGORIES
        if column.kind is Kind.CATEGORY:
            values[values < 0] = np.nan
        found.append((values, is_category))
    return found
