"""Nodes on one database: two of one name never work at a time, and a killed one is back at once."""

from __future__ import annotations

import pytest
from msgspec import structs

from gateway.core.errors import StoreLocked
from gateway.core.nodes import NodeFacts
from gateway.store.postgres import node_names
from gateway.store.postgres.connection import Connection, connect
from gateway.store.postgres.node_rows import begin_life, end_life
from tests.store.postgres.kit import connected, server_of
from tests.support.postgres_server import PostgresPlace

LEASE = 20.0
GW1 = NodeFacts(name="gw1", boot="first", version="1.4.0", config_hash="c0ffee", sinks=("erp", "archive"))
AGAIN = structs.replace(GW1, boot="second", version="1.5.0")


async def begun(connection: Connection, facts: NodeFacts) -> int:
    """Begin the life of a node, and return its number."""
    node = (await begin_life(connection, facts.name, facts.boot, facts.version)).node
    await node_names.configure(connection, node, facts)
    return node


async def test_a_node_is_seen_with_what_it_says_and_the_lanes_that_it_owns(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as connection:
        node = await begun(connection, GW1)
        lane = "INSERT INTO lanes (sink, node, expires) VALUES ($1, $2, clock_timestamp() + $3 * interval '1 second')"
        await connection.execute(lane, "erp", node, 20)
        await connection.execute(lane, "archive", node, -1)
        (seen,) = await node_names.read_nodes(connection, LEASE)
        assert (seen.name, seen.alive, seen.version, seen.config_hash) == ("gw1", True, "1.4.0", "c0ffee")
        assert (seen.sinks, seen.lanes) == (("erp", "archive"), ("erp",))
        await connection.execute("UPDATE nodes SET seen = seen - interval '21 seconds'")
        assert [one.alive for one in await node_names.read_nodes(connection, LEASE)] == [False]


async def test_a_live_node_keeps_its_name_and_is_named_to_another_one(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as first, connected(postgres_place) as second:
        node = await begun(first, GW1)
        with pytest.raises(StoreLocked, match=r'^a node "gw1" is alive: version 1\.4\.0, seen \d+ s ago\. Stop it') as refused:
            await begun(second, AGAIN)
        assert refused.value.exit_code == 73
        await node_names.renew(first, node, GW1)
        assert await begun(second, structs.replace(GW1, name="gw2")) != node


async def test_a_killed_node_has_its_name_back_at_once_and_its_old_lanes_are_free(postgres_place: PostgresPlace) -> None:
    killed = await connect(server_of(postgres_place), "test")
    async with connected(postgres_place) as connection:
        node = await begun(killed, GW1)
        await connection.execute("INSERT INTO lanes (sink, node, epoch) VALUES ('erp', $1, 7)", node)
        await killed.close()
        assert await begun(connection, AGAIN) == node
        assert [tuple(row) for row in await connection.fetch("SELECT node, epoch FROM lanes")] == [(None, 8)]


async def test_the_session_of_a_machine_that_is_gone_is_ended_by_the_server(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as connection:
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count")
        assert [await connection.fetchval(f"SHOW {name}") for name in names] == ["10", "5", "3"]


async def test_a_process_that_lost_its_name_ends(postgres_place: PostgresPlace) -> None:
    broken = await connect(server_of(postgres_place), "test")
    async with connected(postgres_place) as first, connected(postgres_place) as second:
        node = await begun(broken, GW1)
        await broken.close()  # the process lives, and was not back yet
        await begun(second, AGAIN)
        with pytest.raises(StoreLocked, match='another process has taken the name of the node "gw1"'):
            await node_names.renew(first, node, GW1)
        await second.execute("INSERT INTO lanes (sink, node, expires) VALUES ('erp', $1, 'infinity')", node)
        await end_life(first, node, GW1.boot, clean=True)
        assert [(one.alive, one.lanes) for one in await node_names.read_nodes(second, LEASE)] == [(True, ("erp",))]


async def test_a_node_that_comes_back_after_a_broken_connection_holds_its_name_again(postgres_place: PostgresPlace) -> None:
    broken = await connect(server_of(postgres_place), "test")
    async with connected(postgres_place) as first, connected(postgres_place) as second:
        node = await begun(broken, GW1)
        await broken.close()
        await node_names.renew(first, node, GW1)
        with pytest.raises(StoreLocked):
            await begun(second, AGAIN)


async def test_a_stop_gives_name_and_lanes_back(postgres_place: PostgresPlace) -> None:
    async with connected(postgres_place) as first, connected(postgres_place) as second:
        node = await begun(first, GW1)
        await node_names.renew(first, node, GW1)
        await first.execute("INSERT INTO lanes (sink, node) VALUES ('erp', $1)", node)
        await end_life(first, node, GW1.boot, clean=True)
        (gone,) = await node_names.read_nodes(second, LEASE)
        assert (gone.alive, gone.lanes) == (False, ())
        assert await second.fetchval("SELECT node FROM lanes") is None
        assert await begun(second, AGAIN) == node
