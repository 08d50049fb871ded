from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest
from eventrunner.handlers.consumer_turns import Turns

MS = 1_000_000
PATIENCE = 10.0


@pytest.fixture
def others() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(4) as executor:
        yield executor


def another(turns: Turns, others: ThreadPoolExecutor) -> Future[None]:
    """Is done when another request has had its turn, of short calls."""

    def take() -> None:
        with turns.turn() as turn:
            turn.called(MS // 100, MS // 100)

    return others.submit(take)


def has_begun(request: Future[None]) -> bool:
    try:
        request.result(0.1)
    except TimeoutError:
        return False
    return True


def test_requests_of_short_calls_come_one_after_the_other(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        other = another(turns, others)
        for _ in range(1000):
            turn.called(MS // 10, MS // 10)
        assert not has_begun(other)
    other.result(PATIENCE)


def test_long_calls_let_others_go_on_beside_them(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        turn.called(100 * MS, 100 * MS)
        another(turns, others).result(PATIENCE)


def test_calls_that_are_long_together_do_too(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        for _ in range(10):
            turn.called(MS, MS)
        another(turns, others).result(PATIENCE)


def test_one_call_that_is_longer_than_the_others_changes_nothing(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        turn.called(2 * MS, 2 * MS)
        assert not has_begun(another(turns, others))


def test_a_call_that_sleeps_keeps_nobody_waiting_but_one_that_waits_for_the_processor_does(
    others: ThreadPoolExecutor,
) -> None:
    turns = Turns()
    with turns.turn() as turn:
        turn.called(MS // 10, 10 * MS)
        assert not has_begun(another(turns, others))
        turn.called(MS // 10, 100 * MS)
        another(turns, others).result(PATIENCE)


def test_who_waits_before_a_retry_lets_others_go_on(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        turn.leave()
        another(turns, others).result(PATIENCE)


def test_requests_of_long_calls_do_not_wait_at_all_until_calls_are_short_again(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with turns.turn() as turn:
        turn.called(100 * MS, 100 * MS)
    with turns.turn():
        another(turns, others).result(PATIENCE)
    with turns.turn():
        assert not has_begun(another(turns, others))


def test_an_error_ends_a_turn(others: ThreadPoolExecutor) -> None:
    turns = Turns()
    with pytest.raises(ZeroDivisionError), turns.turn():
        raise ZeroDivisionError
    another(turns, others).result(PATIENCE)


def test_no_two_hold_a_turn_at_once(others: ThreadPoolExecutor) -> None:
    turns, inside, most = Turns(), 0, 0
    lock = threading.Lock()

    def request() -> None:
        nonlocal inside, most
        for _ in range(200):
            with turns.turn() as turn:
                with lock:
                    inside += 1
                    most = max(most, inside)
                turn.called(1, 1)
                with lock:
                    inside -= 1

    for future in [others.submit(request) for _ in range(4)]:
        future.result(PATIENCE)
    assert most == 1
