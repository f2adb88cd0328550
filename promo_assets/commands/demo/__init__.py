"""`demo`: the whole project on local services, with made-up campaigns and a made-up lake.

`demo.py` starts and stops Dagster; `stream.py`, `lake.py` and `campaigns.py` are the three parts
that it shows, each of which prints what came out and raises if that is not what was promised.
"""
