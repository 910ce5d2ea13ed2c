"""`no_grad()` and `enable_grad()` as decorators of whatever can be called."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from minigan.recording import Recording, is_recording
from minigan.tensor import enable_grad, no_grad

BOTH = pytest.mark.parametrize("within", [no_grad, enable_grad])


def steps() -> Iterator[bool]:
    yield is_recording()
    yield is_recording()


async def waiting() -> list[bool]:
    before = is_recording()
    await asyncio.sleep(0)
    return [before, is_recording()]


async def yielding() -> AsyncIterator[bool]:
    yield is_recording()


class Callables:
    def steps(self) -> Iterator[bool]:
        yield from steps()

    def __call__(self) -> Iterator[bool]:
        return steps()


def outside(within: Callable[[], Recording]) -> Recording:
    """A context that records what `within` does not, and the other way round."""
    return enable_grad() if within is no_grad else no_grad()


GENERATORS: dict[str, Callable[[], Any]] = {
    "a generator function": steps,
    "a partial of one": functools.partial(steps),
    "a method": Callables().steps,
    "an object": Callables(),
    "a function that gives one": lambda: steps(),
    "an expression": lambda: (is_recording() for _ in range(2)),
}


@BOTH
@pytest.mark.parametrize("name", GENERATORS)
def test_each_step_of_a_generator_runs_within(name: str, within: Any) -> None:
    inside = within is enable_grad
    with outside(within):
        found = []
        for value in within()(GENERATORS[name])():
            assert is_recording() is not inside  # between the steps
            found.append(value)
        assert is_recording() is not inside
    assert found == [inside, inside]


def test_what_goes_into_a_generator_and_comes_out_of_it() -> None:
    seen: list[Any] = []

    @no_grad()
    def conversation() -> Any:
        try:
            while True:
                try:
                    seen.append((yield is_recording()))
                except KeyError as error:
                    seen.append(error)
                    if len(seen) == 3:
                        return is_recording()
        finally:
            seen.append(is_recording())

    assert inspect.isgeneratorfunction(conversation)
    talk = conversation()
    assert next(talk) is False
    assert talk.send("sent") is False
    error = KeyError("thrown")
    assert talk.throw(error) is False
    assert is_recording()
    with pytest.raises(StopIteration) as end:
        talk.throw(error)
    assert end.value.value is False
    assert seen == ["sent", error, error, False]
    seen.clear()
    talk = conversation()
    next(talk)
    talk.close()
    assert seen == [False]
    assert is_recording()

    @no_grad()
    def fails() -> Iterator[int]:
        yield 1
        raise KeyError

    with pytest.raises(KeyError):
        list(fails())
    assert is_recording()


def test_a_generator_that_runs_already_is_its_callers_own() -> None:
    running = steps()
    next(running)
    assert no_grad()(lambda: running)() is running


@BOTH
@pytest.mark.parametrize("make", [waiting, functools.partial(waiting), lambda: waiting()])
def test_a_coroutine_awaits_within_and_others_do_not(make: Any, within: Any) -> None:
    inside = within is enable_grad

    async def main() -> None:
        with outside(within):
            mine, other = await asyncio.gather(within()(make)(), waiting())
        assert (mine, other) == ([inside] * 2, [not inside] * 2)

    asyncio.run(main())
    assert is_recording()


def test_a_context_around_an_await_does_not_reach_other_tasks() -> None:
    async def held() -> list[bool]:
        with no_grad():
            return await waiting()

    async def main() -> tuple[list[bool], list[bool]]:
        return tuple(await asyncio.gather(held(), waiting()))  # type: ignore[return-value]

    assert asyncio.run(main()) == ([False, False], [True, True])


REFUSED: dict[str, tuple[Any, str]] = {
    "an asynchronous generator": (yielding, "asynchronous generator; say `with"),
    "a class": (Callables, "Callables is a class; decorate its methods"),
    "a staticmethod": (staticmethod(steps), "below @staticmethod, not above"),
    "a classmethod": (classmethod(steps), "below @classmethod, not above"),
    "a property": (property(steps), "below @property, not above"),
    "no function": (3, "decorates functions, but was given a int"),
}


@BOTH
@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, within: Any) -> None:
    thing, words = REFUSED[name]
    with pytest.raises(TypeError, match=rf"^{within.__name__}\(\) .*{words}"):
        within()(thing)


def test_an_asynchronous_generator_is_refused_when_it_shows() -> None:
    with pytest.raises(TypeError, match="asynchronous generator"):
        no_grad()(lambda: yielding())()
    assert is_recording()


def test_methods_below_their_decorators() -> None:
    class Layer:
        @staticmethod
        @no_grad()
        def free() -> bool:
            return is_recording()

        @classmethod
        @no_grad()
        def of_class(cls) -> bool:
            return is_recording()

        @property
        @no_grad()
        def value(self) -> bool:
            return is_recording()

    assert (Layer.free(), Layer.of_class(), Layer().value) == (False, False, False)
    assert is_recording()
