from __future__ import annotations

import pytest
from eventrunner.budget import ByteBudget
from eventrunner.errors import Unavailable


def test_one_caller_gets_half_and_leaves_the_rest_to_others() -> None:
    budget = ByteBudget(100)
    with budget.hold("loud") as first, budget.hold("loud") as second, budget.hold("quiet") as other:
        first.add(30)
        second.add(20)
        with pytest.raises(Unavailable):
            second.add(1)
        other.add(50)
        assert budget.held == 100


def test_no_more_than_all_is_held() -> None:
    budget = ByteBudget(100)
    with budget.hold("a") as a, budget.hold("b") as b, budget.hold("c") as c:
        a.add(50)
        b.add(40)
        with pytest.raises(Unavailable):
            c.add(11)
        c.add(10)


def test_everything_comes_back_whatever_happened() -> None:
    budget = ByteBudget(100)

    def work(*sizes: int) -> None:
        with budget.hold("a") as hold:
            for size in sizes:
                hold.add(size)

    with pytest.raises(Unavailable):
        work(40, 40)
    assert budget.held == 0
    with budget.hold("a") as hold:
        hold.add(50)
        hold.give_back()
        assert budget.held == 0
        hold.add(10)
    assert budget.held == 0
