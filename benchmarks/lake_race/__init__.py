"""The parts of the benchmark `benchmarks/lake.py`."""
