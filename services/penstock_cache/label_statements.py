"""What is asked of the database about labels."""

from dataclasses import astuple

from penstock_cache.connection import Connection
from penstock_cache.decision.label import Label
from penstock_cache.entries import Restored, StoredLabel

_ROUNDING_S = 2e-6


def insert(connection: Connection, tenant: str, model: str, label: Label) -> None:
    """Keeps a label."""
    connection.execute(
        "INSERT INTO labels (tenant, model, cluster, score, is_correct, propensity, time_s)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (tenant, model, *astuple(label)),
    )


def restore(connection: Connection, tenant: str, model: str, label: Label) -> Restored:
    """Keeps a label, unless it is there. Times come out of an export as they went in but for rounding."""
    found = connection.execute(
        "SELECT 1 FROM labels WHERE tenant = :tenant AND model = :model AND time_s BETWEEN :since_s AND :until_s"
        " AND cluster = :cluster AND score = :score",
        {
            "tenant": tenant,
            "model": model,
            "since_s": label.time_s - _ROUNDING_S,
            "until_s": label.time_s + _ROUNDING_S,
            "cluster": label.cluster,
            "score": label.score,
        },
    ).fetchone()
    if found is not None:
        return Restored.ALREADY_THERE
    insert(connection, tenant, model, label)
    return Restored.KEPT


def models(connection: Connection, tenant: str) -> list[str]:
    """The models that a tenant has labels for, in order."""
    rows = connection.execute("SELECT DISTINCT model FROM labels WHERE tenant = ? ORDER BY model", (tenant,))
    return [model for (model,) in rows]


def newest(connection: Connection, tenant: str, model: str, after: int, limit: int) -> list[StoredLabel]:
    """The newest labels with numbers above `after`, oldest first."""
    rows = connection.execute(
        "SELECT number, cluster, score, is_correct, propensity, time_s FROM labels"
        " WHERE tenant = ? AND model = ? AND number > ? ORDER BY number DESC LIMIT ?",
        (tenant, model, after, limit),
    ).fetchall()
    return [
        StoredLabel(number, Label(cluster, score, bool(is_correct), propensity, time_s))
        for number, cluster, score, is_correct, propensity, time_s in reversed(rows)
    ]


def remove_oldest(connection: Connection, max_labels: int) -> None:
    """Keeps the newest `max_labels` labels of each tenant and model."""
    groups = connection.execute(
        "SELECT tenant, model FROM labels GROUP BY tenant, model HAVING count(*) > ?", (max_labels,)
    ).fetchall()
    for tenant, model in groups:
        connection.execute(
            "DELETE FROM labels WHERE tenant = :tenant AND model = :model AND number <= (SELECT number FROM labels"
            " WHERE tenant = :tenant AND model = :model ORDER BY number DESC LIMIT 1 OFFSET :max_labels)",
            {"tenant": tenant, "model": model, "max_labels": max_labels},
        )
