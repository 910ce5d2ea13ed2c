"""What can go wrong besides wrong shapes, each with a sentence for the person who asked."""

from __future__ import annotations


class UnavailableError(RuntimeError):
    """A compiler, a library or a driver that is needed is missing; says which, and the way out."""


class KernelError(RuntimeError):
    """A kernel broke a rule of CUDA, or its source does not compile: a bug in minigan."""
