"""Whether operations are recorded: the contexts `no_grad` and `enable_grad`."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Generator
from contextvars import ContextVar
from types import GeneratorType
from typing import Any, TypeVar, overload

_F = TypeVar("_F", bound=Callable[..., Any])

# Each thread, and each task of an event loop, has its own values of these.
_recording: ContextVar[bool] = ContextVar("recording", default=True)
_outside: ContextVar[tuple[bool, ...]] = ContextVar("outside", default=())  # of entered contexts
is_recording = _recording.get  # whether operations are remembered now


class Recording:
    """A context in which operations are recorded, or are not. It also decorates functions.

    A decorated function may yield: each of its steps runs within the context, and what goes through
    it does not. It may be a coroutine function: it awaits within the context.

    Raises:
        TypeError: if it decorates anything but a function; or when the function is called and gives
            an asynchronous generator.
    """

    def __init__(self, recording: bool) -> None:
        self.recording = recording

    def __enter__(self) -> None:
        _outside.set((*_outside.get(), _recording.get()))
        _recording.set(self.recording)

    def __exit__(self, *error: object) -> None:
        *outside, before = _outside.get()
        _outside.set(tuple(outside))
        _recording.set(before)

    def __call__(self, function: Any) -> Any:
        _check_function(function, self._name)
        recording = self.recording

        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def decorated(*args: Any, **options: Any) -> Any:
                return (yield from _steps(recording, function(*args, **options)))

        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def decorated(*args: Any, **options: Any) -> Any:
                with Recording(recording):
                    return await function(*args, **options)

        else:

            @functools.wraps(function)
            def decorated(*args: Any, **options: Any) -> Any:
                with Recording(recording):
                    result = function(*args, **options)
                return self._later(result)

        return decorated

    @property
    def _name(self) -> str:
        return "enable_grad()" if self.recording else "no_grad()"

    def _later(self, result: Any) -> Any:
        """The result of a function; one that still has to run does so within the context."""
        if isinstance(result, GeneratorType):
            if inspect.getgeneratorstate(result) == inspect.GEN_CREATED:
                return _steps(self.recording, result)
        elif isinstance(result, Coroutine):
            return _awaited(self.recording, result)
        elif isinstance(result, AsyncIterator):
            raise TypeError(_ASYNCHRONOUS.format(name=self._name))
        return result


_ASYNCHRONOUS = (
    "{name} cannot decorate an asynchronous generator; say `with {name}:` within it, around what "
    "does not yield"
)


@overload
def no_grad(function: None = None) -> Recording: ...
@overload
def no_grad(function: _F) -> _F: ...
def no_grad(function: Any = None) -> Any:
    """Within this context, `with no_grad():`, or the function it decorates, nothing is recorded.

    >>> x = mg.Tensor([1.0, 2.0])
    >>> with mg.no_grad():
    ...     y = x * x  # a constant to `grad`
    """
    return Recording(False) if function is None else Recording(False)(function)


@overload
def enable_grad(function: None = None) -> Recording: ...
@overload
def enable_grad(function: _F) -> _F: ...
def enable_grad(function: Any = None) -> Any:
    """Within this context, or the function it decorates, all is recorded, even inside `no_grad`.

    >>> x = mg.Tensor(3.0)
    >>> with mg.no_grad(), mg.enable_grad():
    ...     mg.grad(x * x, x).item()
    6.0
    """
    return Recording(True) if function is None else Recording(True)(function)


def _check_function(function: Any, name: str) -> None:
    if inspect.isclass(function):
        raise TypeError(
            f"{name} decorates functions, and {function.__name__} is a class; decorate its methods"
        )
    if isinstance(function, (staticmethod, classmethod, property)):
        kind = type(function).__name__
        raise TypeError(f"{name} decorates functions; write @{name} below @{kind}, not above")
    if not callable(function):
        raise TypeError(f"{name} decorates functions, but was given a {type(function).__name__}")
    if inspect.isasyncgenfunction(function):
        raise TypeError(_ASYNCHRONOUS.format(name=name))


def _steps(recording: bool, generator: Generator[Any, Any, Any]) -> Generator[Any, Any, Any]:
    """The generator, each of whose steps runs with this recording."""
    step: Callable[[], Any] = functools.partial(next, generator)
    while True:
        try:
            with Recording(recording):
                item = step()
        except StopIteration as end:
            return end.value
        try:
            sent = yield item
        except GeneratorExit:
            with Recording(recording):
                generator.close()
            raise
        except BaseException as error:
            step = functools.partial(generator.throw, error)
        else:
            step = functools.partial(generator.send, sent)


async def _awaited(recording: bool, coroutine: Coroutine[Any, Any, Any]) -> Any:
    with Recording(recording):
        return await coroutine
