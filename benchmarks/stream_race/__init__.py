"""The parts of the benchmark `benchmarks/stream.py`."""
