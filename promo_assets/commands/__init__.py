"""What each command of `promo-assets` does: one module per command, named like the command.

A module with a noun as its name (`console`, `kafka_client`, `raw_days`, ...) is shared by several
commands. `cli.py` imports a command's module only when the command runs, so that help is quick.
"""
