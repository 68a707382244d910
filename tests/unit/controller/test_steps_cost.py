"""Steps of moves are stored without a look at every move that there ever was."""

from typing import Any

from row_rig import AT, taken
from sqlalchemy import event
from sqlalchemy.engine import Engine

from gapless.controller.store import moverows
from gapless.controller.store.engine import Store
from gapless.model.plan import MoveStep


async def test_moves_are_found_by_their_index(store: Store) -> None:
    asked: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        asked.append((statement, parameters))

    event.listen(Engine, "before_cursor_execute", note)
    try:
        async with store.transaction() as session:
            await moverows.record_steps(session, [taken(MoveStep.SENT, AT, router=each) for each in ("r", "s")])
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    ((statement, parameters),) = [each for each in asked if "FROM moves" in each[0]]
    async with store.reading() as session:
        connection = await session.connection()
        plan = await connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        assert [row.detail.split()[:2] for row in plan] == [["SEARCH", "moves"]]
