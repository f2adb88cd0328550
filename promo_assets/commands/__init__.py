"""What the commands of `promo-assets` do, one module a subject. `cli.py` imports them when they are called, so that help is quick."""
