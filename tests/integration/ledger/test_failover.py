"""A PostgreSQL server that stands by for another now, and one whose host is gone."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import psycopg
import pytest

from ignition_ext.database import Database
from ignition_ext.errors import DatabaseError
from ignition_ext.ledger.retry import StandardRetry
from ignition_ext.values import Delivery


async def test_a_primary_that_became_a_standby_is_away(
    postgres_database_url: str,
    make_scene: Callable[[Database], Awaitable[Any]],
    accepted: Callable[..., Any],
) -> None:
    """It refuses to write; its connections are left, and what was told is stored afterwards."""
    database = Database(postgres_database_url)
    scene = await make_scene(database)
    run = await scene.run("a@example.com", "b@example.com")
    lease, ids = await scene.sending(run)
    told = [Delivery(message_id=key, outcome=accepted()) for key in ids.values()]
    name = postgres_database_url.rpartition("/")[2]

    def let_it(read_only: str) -> None:
        with psycopg.connect(postgres_database_url, autocommit=True) as connection:
            set_to = f'ALTER DATABASE "{name}" SET default_transaction_read_only = {read_only}'
            connection.execute("SET default_transaction_read_only = off")
            connection.execute(set_to.encode())

    async def settle() -> None:
        await scene.ledger.turn(run, lease, told, (), StandardRetry())

    assert database.hot is not None
    let_it("on")
    await database.hot.close()  # what is connected anew finds it so
    with pytest.raises(DatabaseError, match="read-only"):
        await settle()

    let_it("off")
    await settle()

    assert set((await scene.states(run)).values()) == {"sent"}
    await database.close()


async def test_a_host_that_says_nothing_is_given_up(postgres_url: str) -> None:
    """Within a minute, on the ledger's connections and on others; the URL's word counts more."""
    database = Database(f"{postgres_url}?keepalives_idle=7")
    try:
        assert database.hot is not None
        async with database.hot.take() as hot, database.driver() as pooled:
            for connection in (hot, pooled):
                said = connection.info.get_parameters()
                assert said["tcp_user_timeout"] == "30000"
                assert (said["keepalives_idle"], said["keepalives_interval"]) == ("7", "5")
                assert said["connect_timeout"] == "15"
    finally:
        await database.close()
