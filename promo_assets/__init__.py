"""Restaurant promos in real time, and a daily lake of the messenger's events: one Dagster project."""
