"""The plots on the marts' pages in Dagster. Each `draw_...` function returns a matplotlib figure.

Rows are plain Python tuples that are already aggregated; a city without a name is None. Without
rows, the figure is small and says so.

matplotlib is imported inside the functions, because Dagster imports these modules whenever it loads
the definitions. pyplot is not used, because its state is global.
"""
