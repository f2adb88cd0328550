"""Places for generated events: edges of the globe, ties between cities, moves by kilometres."""

import numpy as np

from promo_assets_tests.support.lake.oracle import City

EARTH_KM = 6371.0

# Positions at the edge that are still valid. Latitudes repeat, so that longitudes decide ties.
EDGES = (
    (90.0, 180.0), (-90.0, -180.0), (0.0, -180.0), (0.0, 0.0),
    (-33.0, 115.7), (-33.0, 151.6), (-33.0, 151.6), (-33.0, 115.7),
)  # fmt: skip
# The two positions of a pair are one point of the globe.
SAME_POINTS = (
    ((90.0, 10.0), (90.0, -170.0)),
    ((-90.0, 0.0), (-90.0, 77.0)),
    ((-16.8, 180.0), (-16.8, -180.0)),
    ((0.0, 0.0), (0.0, 0.0)),
)
FAR_SPOTS = ((89.9995, 20.0), (-89.9995, 100.0), (-16.8, 179.9995), (52.0, -180.0), (0.0, 0.0))


def move(random: np.random.Generator, places: np.ndarray, km: np.ndarray | float) -> np.ndarray:
    """Move each place (latitude, longitude in degrees) by this many km in a random direction.

    The result is exact at the poles and at the 180th meridian, too.
    """
    lat, lon = np.radians(places).T
    normal = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    towards = np.cross(normal, random.normal(size=normal.shape), axis=0)
    angle = np.asarray(km) / EARTH_KM
    x, y, z = normal * np.cos(angle) + towards / np.linalg.norm(towards, axis=0) * np.sin(angle)
    moved = np.degrees([np.arctan2(z, np.hypot(x, y)), np.arctan2(y, x)]).T
    return np.where(np.expand_dims(angle == 0, -1), places, moved)


def find_ties(random: np.random.Generator, cities: list[City]) -> np.ndarray:
    """Return places whose two nearest cities are equally far, rounded to 1e-9 km.

    They are found by bisection between two random places. Places are left out that are so close to
    the edge of rounding that another way to compute a sine would decide.
    """
    centres = np.array([(lat, lon) for _, _, lat, lon, _ in cities])
    left, right = (
        centres[random.integers(len(centres), size=300)] + random.normal(size=(300, 2))
        for _ in range(2)
    )
    nearest = _km(left, centres).argmin(axis=1)
    for _ in range(100):
        middle = (left + right) / 2
        same = (_km(middle, centres).argmin(axis=1) == nearest)[:, None]
        left, right = np.where(same, middle, left), np.where(same, right, middle)
    two = np.sort(_km(left, centres), axis=1)[:, :2] * 1e9
    off = np.abs(two - np.round(two))
    return left[(np.round(two[:, 0]) == np.round(two[:, 1])) & (off < 0.4).all(axis=1)]


def _km(places: np.ndarray, centres: np.ndarray) -> np.ndarray:
    (lat1, lon1), (lat2, lon2) = np.radians(places).T[:, :, None], np.radians(centres).T[:, None, :]
    chord = (
        np.sin((lat2 - lat1) / 2) ** 2
        + np.cos(lat1) * np.cos(lat2) * np.sin((lon2 - lon1) / 2) ** 2
    )
    return 2 * EARTH_KM * np.arcsin(np.sqrt(chord))
