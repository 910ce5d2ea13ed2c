"""What kernels run on: the thread pool, native tasks, memory and the state of the processor."""
