from promo_assets_tests.support.world import world

__all__ = ["world"]
