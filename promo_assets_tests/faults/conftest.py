from promo_assets_tests.world import world

__all__ = ["world"]
