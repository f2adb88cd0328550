"""How a run builds marts."""

from pydantic.dataclasses import dataclass

from promo_assets.setting_types import DayCount


@dataclass(frozen=True)
class MartConfig:
    """`depth` is the number of days of history in a mart.

    Raises pydantic's `ValidationError`, a `ValueError`, if the settings do not allow the depth.
    """

    depth: DayCount
