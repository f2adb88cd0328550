-- Distances between points: on the sphere, in km, and squared in space.
create macro haversine_km(lat_1, lon_1, lat_2, lon_2) as
    2 * 6371.0::double * asin(sqrt(least(
        1.0::double,
        sin(radians(lat_2 - lat_1) / 2) * sin(radians(lat_2 - lat_1) / 2)
        + cos(radians(lat_1)) * cos(radians(lat_2))
            * sin(radians(lon_2 - lon_1) / 2) * sin(radians(lon_2 - lon_1) / 2)
    )));
create macro chord_squared(x_1, y_1, z_1, x_2, y_2, z_2) as
    (x_1 - x_2) * (x_1 - x_2) + (y_1 - y_2) * (y_1 - y_2) + (z_1 - z_2) * (z_1 - z_2);
