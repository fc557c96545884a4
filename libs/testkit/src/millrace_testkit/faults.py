"""`python -m millrace_testkit.faults N [--mode real]`: N kill -9 at random moments under load, then all is counted.

Embedded, a door, a lake writer, a keeper and a whole `millrace up` work on one data directory at once; real, two
doors, their relays, two lake writers, a keeper, id- and auth-service work on servers, of which broker, PostgreSQL and
etcd are killed too. Senders post traffic of all kinds to both doors and repeat what was not answered; real, ids are
drawn meanwhile. One after the other is killed and started again. At the end lake and model are compared row by row,
each body that was answered with 200 has to be there, and no id may have come twice.
Exit code 1 on any difference; the data directory is kept then.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import random
import shutil
import sys
import tempfile
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from millrace_testkit.acknowledged import lost, lost_messages
from millrace_testkit.builders import traffic
from millrace_testkit.load import OK, Connection
from millrace_testkit.model import Sums, compare, sums
from millrace_testkit.real import RealStack
from millrace_testkit.stack import Stack
from millrace_testkit.victims import Victims, embedded_victims, real_victims

SENDERS = 4
BODIES_PER_S = 400
_SHOWN = 20


@dataclass
class Outcome:
    """What a run did, and everything that is not as it must be."""

    kills: dict[str, int] = field(default_factory=dict)
    acknowledged: list[bytes] = field(default_factory=list)
    unanswered: int = 0
    ids: int = 0
    totals: Sums | None = None
    differences: list[str] = field(default_factory=list)


class _Run:
    def __init__(self, stack: Stack, victims: Victims, seed: int, on_kill: Callable[[], None]) -> None:
        self.outcome = Outcome()
        self._stack = stack
        self._chance = random.Random(seed)
        self._on_kill = on_kill
        self._victims = victims.named
        self._drawer = victims.drawer
        self._doors = victims.doors
        self._directories = victims.directories

    async def kill_and_count(self, kills: int) -> Outcome:
        """Kill `kills` times under load, let the lake catch up, end everything in good order, and compare."""
        for victim in self._victims.values():
            await asyncio.to_thread(victim.wait_ready)
        over = asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            for lane in range(SENDERS):
                tasks.create_task(self._send(lane, over))
            if self._drawer is not None:
                tasks.create_task(self._drawer.draw(over))
            try:
                for name in self._chosen(kills):
                    await self._kill(name)
            finally:
                over.set()
        for victim in self._victims.values():
            await asyncio.to_thread(victim.wait_ready)
        await asyncio.to_thread(self._stack.wait_landed)
        if self._drawer is not None:
            await self._drawer.draw_once_more()
        for victim in self._victims.values():
            await asyncio.to_thread(victim.stop)
        self._count()
        return self.outcome

    def _chosen(self, kills: int) -> list[str]:
        """Who is killed, in what order: everybody once, if there are enough kills for that, the others by weight."""
        names = [name for name, victim in self._victims.items() if victim.weight]
        weights = [self._victims[name].weight for name in names]
        once = names if len(names) <= kills else []
        chosen = once + self._chance.choices(names, weights, k=kills - len(once))
        self._chance.shuffle(chosen)
        return chosen

    async def _kill(self, name: str) -> None:
        victim = self._victims[name]
        if self._chance.random() < 0.8:  # else: perhaps in the middle of its start
            await asyncio.to_thread(victim.wait_ready)
        await asyncio.sleep(self._chance.uniform(0, 0.6))
        if not victim.alive:
            self.outcome.differences.append(f"{name} ended by itself: {victim.log()[-2000:]}")
        await asyncio.to_thread(victim.kill)
        self.outcome.kills[name] = self.outcome.kills.get(name, 0) + 1
        victim.start_again()
        self._on_kill()

    async def _send(self, lane: int, over: asyncio.Event) -> None:
        """A sender as the world has them: what is not answered by 200 is sent again, to whoever answers."""
        doors = itertools.cycle(self._doors)
        door = next(doors)
        connection = Connection(door.process.endpoint.http_port)
        port = 0
        for body in traffic(seed=lane):
            while not over.is_set():
                if port != door.process.endpoint.http_port:  # a restarted door listens elsewhere
                    await connection.close()
                    port = door.process.endpoint.http_port
                    connection = Connection(port)
                await asyncio.sleep(SENDERS / BODIES_PER_S)
                if await connection.post(body) == OK:
                    self.outcome.acknowledged.append(body)
                    break
                self.outcome.unanswered += 1
                door = next(doors)
            if over.is_set():
                break
        await connection.close()

    def _count(self) -> None:
        data, outcome = self._stack.data, self.outcome
        journals = [directory / "messages" / "raw" for directory in self._directories]
        outcome.totals = sums(data, journals=journals)
        outcome.differences += compare(data, journals=journals)
        outcome.differences += [
            f"acknowledged {times} times more than stored: {body[:200]!r}"
            for body, times in lost(self._directories, outcome.acknowledged).items()
        ]
        outcome.differences += [
            f"acknowledged, without a row: {msg_id}"
            for msg_id in sorted(lost_messages(data, outcome.acknowledged))
        ]
        if self._drawer is not None:
            outcome.ids = len(self._drawer.ids)
            outcome.differences += [f"given out twice: id {number}" for number in self._drawer.twice()]


def run(
    home: Path,
    kills: int,
    *,
    seed: int,
    servers: RealStack | None = None,
    on_kill: Callable[[], None] = lambda: None,
) -> Outcome:
    """One run below the directory `home`, with `servers` in real mode; `on_kill` is called after each kill.

    All processes have ended after; the servers run.
    """
    if servers is None:
        with Stack.embedded(home) as stack:
            return asyncio.run(_Run(stack, embedded_victims(stack), seed, on_kill).kill_and_count(kills))
    with Stack.real(home, servers) as real:
        return asyncio.run(_Run(real, real_victims(real), seed, on_kill).kill_and_count(kills))


def table_of(outcome: Outcome) -> Table:
    """The figures of a run."""
    table = Table("figure", "count", title="kill -9 under load")
    totals = outcome.totals
    for name, kills in sorted(outcome.kills.items()):
        table.add_row(f"kills: {name}", str(kills))
    table.add_row("kills", str(sum(outcome.kills.values())))
    table.add_row("bodies acknowledged", str(len(outcome.acknowledged)))
    table.add_row("tries without an answer, repeated", str(outcome.unanswered))
    table.add_row("ids drawn", str(outcome.ids))
    if totals is not None:
        table.add_row("journal lines", str(totals.lines))
        table.add_row("rows: messages", str(totals.messages))
        table.add_row("rows: other", str(totals.other))
        table.add_row("rows: dead letters", str(totals.rejected))
        table.add_row("contact lines", str(totals.contact))
        table.add_row("duplicates sent", str(totals.duplicates))
    table.add_row("differences", str(len(outcome.differences)))
    return table


def main() -> int:
    """Run with a progress bar and print the table."""
    parser = argparse.ArgumentParser(prog="python -m millrace_testkit.faults", description=__doc__)
    parser.add_argument("kills", type=int, nargs="?", default=20, help="how many kill -9 (default: 20)")
    parser.add_argument("--mode", choices=("embedded", "real"), default="embedded", help="default: embedded")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1_000_000))
    arguments = parser.parse_args()
    console = Console()
    console.print(f"seed {arguments.seed}")
    home = Path(tempfile.mkdtemp(prefix="millrace-faults-"))
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("kills", total=arguments.kills)
        with RealStack() if arguments.mode == "real" else nullcontext() as servers:
            outcome = run(
                home,
                arguments.kills,
                seed=arguments.seed,
                servers=servers.start("kafka", "postgresql", "etcd") if servers else None,
                on_kill=lambda: progress.advance(bar),
            )
    console.print(table_of(outcome))
    for difference in outcome.differences[:_SHOWN]:
        console.print(difference, markup=False)
    if outcome.differences:
        console.print(f"the data directory is kept: {home}")
        return 1
    shutil.rmtree(home)
    return 0


if __name__ == "__main__":
    sys.exit(main())
