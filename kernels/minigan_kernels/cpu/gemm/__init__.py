"""GEMM: one small matrix product per plane of the Winograd domain, and its microkernels."""
