"""Restaurant promos in real time and a daily lake of a messenger's events: a Dagster project."""
