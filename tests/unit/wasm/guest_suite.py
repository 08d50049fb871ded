"""What every kind of guest must do, and what none may do. They are `tests/guests`, built for each way of calling."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from eventrunner.storage.records import Limits
from eventrunner.wasm.engine import shared_engine
from eventrunner.wasm.guest import Guest
from eventrunner.wasm.host import Host
from eventrunner.wasm.outcomes import Call, Handled, Limit, LogLine, Message, OverLimit, Refused, Trapped
from eventrunner.wasm.running import Running
from eventrunner.wasm.ticker import Ticker
from support_guests import require_toolchain

__all__ = ["MIB", "GuestSuite", "message", "over"]

MIB = 1024 * 1024
PLENTY = Limits(fuel=10**11, milliseconds=30_000)
BYTES = bytes(range(256))


def message(word: str, body: bytes | str | int = b"") -> Message:
    """That asks the guest to do what the word says."""
    return Message(f"results.acme.{word}", body if isinstance(body, bytes) else str(body).encode())


def over(call: Call) -> Limit | str:
    """The limit, or what came out instead."""
    return call.outcome.limit if isinstance(call.outcome, OverLimit) else repr(call.outcome)


class GuestSuite:
    context: str
    """What the guest's lines of the log are in."""

    @pytest.fixture(autouse=True)
    def _toolchain(self) -> None:
        require_toolchain()

    def code(self) -> bytes:
        raise NotImplementedError

    def guest(self) -> Guest:
        raise NotImplementedError

    def host(self, *args: Any, limits: Limits = PLENTY, **options: Any) -> Host:
        return Host(shared_engine(), self.guest(), limits, *args, **options)

    @pytest.mark.parametrize("body", [b"", BYTES, BYTES * (MIB // 256)], ids=["empty", "each byte", "1 MiB"])
    @pytest.mark.parametrize("reply_to", [None, "_INBOX.größe"])
    def test_a_message_comes_through_whole(self, body: bytes, reply_to: str | None) -> None:
        sent = Message("results.acme.wörter.echo", body, reply_to)
        call = self.host(limits=Limits(fuel=10**10, milliseconds=30_000, output_bytes=2 * MIB)).handle(sent)
        assert call.outcome == Handled()
        assert call.published == (sent,)

    def test_a_call_is_measured(self) -> None:
        host = self.host()
        little, much = host.handle(message("work", 1_000)), host.handle(message("work", 300_000_000))
        assert 0 < little.spent.fuel < 100_000 < 300_000_000 < much.spent.fuel
        assert 0 < little.spent.cpu_ns < much.spent.cpu_ns

    def test_the_memory_of_a_call_is_the_most_it_had(self) -> None:
        host = self.host()
        before, after = host.handle(message("echo")), host.handle(message("grow", 100))
        assert after.spent.memory_bytes - before.spent.memory_bytes == 100 * 65536
        assert before.spent.memory_bytes % 65536 == 0 < before.spent.memory_bytes

    def test_an_error_is_given_on_with_its_text(self) -> None:
        call = self.host().handle(message("refuse", "größer als erlaubt"))
        assert call.outcome == Refused("größer als erlaubt")

    def test_a_trap_is_told_and_what_it_published_is_dropped(self) -> None:
        call = self.host().handle(message("trap-late", "before"))
        assert isinstance(call.outcome, Trapped)
        assert "unreachable" in call.outcome.text
        assert call.published == ()
        assert call.logs == (LogLine("warn" if self.context else "info", self.context, "before"),)

    def test_deep_recursion_traps(self) -> None:
        call = self.host().handle(message("recurse"))
        assert isinstance(call.outcome, Trapped)

    def test_an_endless_loop_ends_with_its_fuel(self) -> None:
        call = self.host(limits=Limits(fuel=10_000_000, milliseconds=30_000)).handle(message("loop"))
        assert call.outcome == OverLimit(Limit.FUEL, 10_000_000)
        assert call.spent.fuel == 10_000_000

    def test_an_endless_loop_ends_with_its_time(self) -> None:
        call = self.host(limits=Limits(fuel=10**12, milliseconds=50)).handle(message("loop"))
        assert call.outcome == OverLimit(Limit.TIME, 50)

    def test_a_loop_in_calls_of_the_host_ends_with_its_time(self) -> None:
        call = self.host(limits=Limits(fuel=10**12, milliseconds=50)).handle(message("log-forever"))
        assert over(call) is Limit.TIME

    def test_memory_over_the_limit_is_refused_and_told(self) -> None:
        limits = Limits(fuel=10**10, milliseconds=30_000, memory_bytes=4 * MIB)
        call = self.host(limits=limits).handle(message("bomb"))
        assert call.outcome == OverLimit(Limit.MEMORY, 4 * MIB)
        assert call.spent.memory_bytes <= 4 * MIB

    def test_a_guest_may_make_do_with_the_memory_that_it_has(self) -> None:
        limits = Limits(fuel=10**10, milliseconds=30_000, memory_bytes=4 * MIB)
        call = self.host(limits=limits).handle(message("grow-all"))
        assert call.outcome == Handled()
        assert call.spent.memory_bytes == 4 * MIB

    def test_memory_that_an_earlier_call_was_refused_is_no_reason_for_this_one(self) -> None:
        limits = Limits(fuel=10**10, milliseconds=30_000, memory_bytes=4 * MIB)
        host = self.host("reuse", limits=limits)
        assert host.handle(message("grow-all")).outcome == Handled()
        assert isinstance(host.handle(message("trap")).outcome, Trapped)

    def test_a_guest_that_needs_more_memory_to_start_is_over_its_limit(self) -> None:
        call = self.host(limits=Limits(memory_bytes=65536)).handle(message("echo"))
        assert over(call) is Limit.MEMORY

    def test_too_many_publishes_end_the_call(self) -> None:
        host = self.host(limits=Limits(publishes=10))
        assert len(host.handle(message("publish-times", 10)).published) == 10
        flood = host.handle(message("publish-times", 1_000_000))
        assert flood.outcome == OverLimit(Limit.PUBLISHES, 10)
        assert flood.published == ()

    def test_too_many_bytes_end_the_call(self) -> None:
        host = self.host(limits=Limits(output_bytes=1000, publishes=1000))
        assert host.handle(message("publish-bytes", 900)).outcome == Handled()
        assert host.handle(message("publish-bytes", 1001)).outcome == OverLimit(Limit.OUTPUT, 1000)
        assert over(host.handle(message("publish-times", 900))) is Limit.OUTPUT
        assert over(host.handle(message("refuse-at-length", 1001))) is Limit.OUTPUT

    def test_bytes_are_counted_and_not_characters(self) -> None:
        host = self.host(limits=Limits(output_bytes=100))
        assert host.handle(message("refuse", "ö" * 50)).outcome == Refused("ö" * 50)
        assert over(host.handle(message("refuse", "ö" * 51))) is Limit.OUTPUT

    def test_an_output_bomb_does_no_harm(self) -> None:
        limits = Limits(fuel=10**10, milliseconds=30_000, memory_bytes=512 * MIB)
        for size in (3 * MIB, 200 * MIB):
            assert over(self.host(limits=limits).handle(message("publish-bytes", size))) is Limit.OUTPUT
            assert over(self.host(limits=limits).handle(message("refuse-at-length", size))) is Limit.OUTPUT

    def test_a_log_is_bounded_and_the_call_goes_on(self) -> None:
        host = self.host(limits=Limits(log_bytes=1000, milliseconds=30_000))
        assert [line.text for line in host.handle(message("log", "größe")).logs] == ["größe"]
        call = host.handle(message("log-times", 1000))
        assert call.outcome == Handled()
        assert len(call.logs) + call.logs_dropped == 1000
        assert 0 < sum(len(line.text) for line in call.logs) <= 1000

    def test_a_fresh_instance_remembers_nothing(self) -> None:
        host = self.host("fresh")
        counts = [host.handle(message("count")).published[0].body for _ in range(5)]
        assert counts == [b"1"] * 5

    def test_an_instance_is_used_again_up_to_its_bound(self) -> None:
        host = self.host("reuse", most_calls=3)
        counts = [int(host.handle(message("count")).published[0].body) for _ in range(7)]
        assert counts == [1, 2, 3, 1, 2, 3, 1]

    def test_an_error_is_no_reason_to_drop_an_instance(self) -> None:
        host = self.host("reuse")
        host.handle(message("refuse", "no"))
        assert host.handle(message("count")).published[0].body == b"2"

    @pytest.mark.parametrize("word", ["trap", "loop", "publish-times"])
    def test_an_instance_that_broke_off_is_dropped(self, word: str) -> None:
        host = self.host("reuse", limits=Limits(fuel=10_000_000, milliseconds=30_000, publishes=1))
        host.handle(message("count"))
        assert host.handle(message(word, 2)).outcome != Handled()
        assert host.handle(message("count")).published[0].body == b"1"

    def test_each_call_of_a_reused_instance_has_its_own_limits(self) -> None:
        host = self.host("reuse", limits=Limits(fuel=20_000_000, milliseconds=30_000, publishes=3, log_bytes=50))
        for _ in range(4):
            assert host.handle(message("work", 1_000_000)).outcome == Handled()
            assert len(host.handle(message("publish-times", 3)).published) == 3
            assert len(host.handle(message("log-times", 1)).logs) == 1

    def test_the_host_copies_as_much_in_every_call_of_a_reused_instance(self) -> None:
        host = self.host("reuse")
        for _ in range(6):
            assert host.handle(message("publish-bytes", MIB - 100)).outcome == Handled()

    def test_two_consumers_never_share_an_instance(self) -> None:
        guest = self.guest()
        one, other = (Host(shared_engine(), guest, PLENTY, "reuse") for _ in range(2))
        one.handle(message("count"))
        assert other.handle(message("count")).published[0].body == b"1"

    @pytest.mark.parametrize("instances", ["fresh", "reuse"])
    def test_threads_get_their_own_answers(self, instances: str) -> None:
        host = self.host(instances)
        wrong: list[object] = []

        def work(number: int) -> None:
            for index in range(60):
                mine = f"{number}-{index}"
                asked = ("echo", "refuse", "trap-late")[index % 3]
                call = host.handle(message(asked, mine))
                answers = {
                    "echo": lambda call=call: call.published[0].body.decode(),
                    "refuse": lambda call=call: call.outcome.text,
                    "trap-late": lambda call=call: call.logs[0].text,
                }
                if answers[asked]() != mine:
                    wrong.append(call)

        threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(120)
        assert not any(thread.is_alive() for thread in threads)
        assert wrong == []

    def test_a_guest_that_loops_does_not_hold_up_another(self) -> None:
        host = self.host(limits=Limits(fuel=10**12, milliseconds=30_000))
        thread = threading.Thread(target=host.handle, args=(message("loop"),), daemon=True)
        thread.start()
        assert host.handle(message("echo")).outcome == Handled()
        assert thread.is_alive()
        deadline = time.monotonic() + 60
        while thread.is_alive() and time.monotonic() < deadline:
            # Its time is over, as soon as it has begun.
            for _ in range(Ticker.ticks(30_000)):
                shared_engine().raw.increment_epoch()
            thread.join(0.1)
        assert not thread.is_alive()

    def test_an_interruption_ends_the_call_and_is_raised(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Such as a signal's: it comes in the middle of a function of the host."""

        def interrupted(*_: object) -> None:
            raise KeyboardInterrupt

        host = self.host("reuse")
        host.handle(message("count"))
        with monkeypatch.context() as patch:
            patch.setattr(Running, "publish", interrupted)
            with pytest.raises(KeyboardInterrupt):
                host.handle(message("echo"))
        assert host.handle(message("count")).published[0].body == b"1"

    def test_a_closed_host_makes_new_instances(self) -> None:
        host = self.host("reuse")
        host.handle(message("count"))
        host.close()
        assert host.handle(message("count")).published[0].body == b"1"
