"""Instructions as functions: vectors, the matrix unit, atomic operations."""
