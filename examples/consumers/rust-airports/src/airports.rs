//! The airports that flights from New York go to, compiled in. The table is that of the R package nycflights13 (CC0).

const TABLE: &str = include_str!("airports.csv");
const MEAN_EARTH_RADIUS_KM: f64 = 6371.0;

pub struct Airport {
    pub name: &'static str,
    pub zone: &'static str,
    latitude: f64,
    longitude: f64,
}

impl Airport {
    /// Reads no more of the table than this line: most instances are asked but twice.
    pub fn find(code: &str) -> Option<Airport> {
        let cells = TABLE.lines().skip(1).find_map(|line| line.split_once(',').filter(|(key, _)| *key == code))?.1;
        let [name, latitude, longitude, zone] = cells.split(',').collect::<Vec<_>>().try_into().ok()?;
        Some(Airport { name, zone, latitude: latitude.parse().ok()?, longitude: longitude.parse().ok()? })
    }

    /// Along the great circle, by the haversine formula.
    pub fn kilometres_to(&self, other: &Airport) -> f64 {
        let half = |from: f64, to: f64| ((to - from).to_radians() / 2.0).sin().powi(2);
        let cosines = self.latitude.to_radians().cos() * other.latitude.to_radians().cos();
        let root = half(self.latitude, other.latitude) + cosines * half(self.longitude, other.longitude);
        2.0 * MEAN_EARTH_RADIUS_KM * root.sqrt().asin()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_table_can_be_read() {
        assert!(TABLE.lines().skip(1).all(|line| Airport::find(&line[..3]).is_some()));
    }

    #[test]
    fn newark_to_honolulu_is_as_far_as_the_airlines_say() {
        let (newark, honolulu) = (Airport::find("EWR").unwrap(), Airport::find("HNL").unwrap());
        let kilometres = 4963.0 * 1.609344; // The table of flights has miles.
        assert!((newark.kilometres_to(&honolulu) - kilometres).abs() / kilometres < 0.005);
    }
}
