"""What befalls the controller and its database."""

from gapless.core.ledger.liveness import Attention
from gapless.sim.store import QUICK_S
from gapless.sim.world import World


def controller_crash(world: World) -> None:
    """The controller is killed between two effects."""
    if world.controller is not None:
        world.controller.crash_after = world.random.randint(0, 6)
        world.strike(f"the controller is to be killed after {world.controller.crash_after} more effects")


def controller_crash_at_once(world: World) -> None:
    """The controller is killed while it waits."""
    if world.controller is not None:
        world.controller.crash()


def controller_pause(world: World) -> None:
    """The controller is stopped for a while."""
    controller = world.controller
    if controller is None or controller.is_stopped:
        return
    world.strike("the controller is stopped")
    controller.stop()
    timer_first = world.random.random() < 0.5
    pause_s = world.random.choice([0.5, 2.0, 5.0, 1.2 * world.timing.dead_after_s, 2.5 * world.timing.dead_after_s])
    world.agenda.after(pause_s, lambda: controller.go_on(timer_first=timer_first))


def controller_stalls(world: World) -> None:
    """The controller is stopped again and again, each time for longer than it takes for late."""
    controller = world.controller
    if controller is None or controller.is_stopped:
        return
    world.strike("the controller begins to stall")
    every_s = world.random.uniform(0.5, 1.0) * world.timing.dead_after_s
    pause_s = world.random.uniform(1.0, 2.0) * Attention(world.timing, 0.0).away_after_s

    def stall() -> None:
        if not world.is_ending and not controller.is_stopped:
            controller.stop()
            world.agenda.after(pause_s, lambda: controller.go_on(timer_first=world.random.random() < 0.5))

    for number in range(10):
        world.agenda.after(number * every_s, stall)


def store_failure(world: World) -> None:
    """The database cannot be written for a while, or says so although it was."""
    world.store.is_failing = True
    world.store.fails_after_writing = world.random.random() < 0.2
    world.strike(f"the store fails {'after' if world.store.fails_after_writing else 'before'} writing")

    def end() -> None:
        world.store.is_failing = False

    world.agenda.after(world.random.uniform(0.1, 30), end)


def slow_store(world: World) -> None:
    """The database takes its time to answer: much may happen between a decision and its being known to be stored."""
    world.store.answers_after_s = world.random.uniform(0.1, 2.0) * world.timing.agent_down_time_s
    world.strike(f"the store answers after {world.store.answers_after_s:.1f} s")

    def end() -> None:
        world.store.answers_after_s = QUICK_S

    world.agenda.after(world.random.uniform(1, 4) * world.timing.dead_after_s, end)
