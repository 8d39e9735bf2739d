"""Tests of the benchmarks: that they run, and that their figures are put together correctly."""
