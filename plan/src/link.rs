//! The link between client and server: what bytes and round trips take.

use serde::{Deserialize, Serialize};

use crate::Round;

/// How client and server are connected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Link {
    /// Bytes per second, each way.
    pub bytes_per_second: f64,
    /// Seconds from a message to its answer, where both are short.
    pub round_trip: f64,
}

impl Default for Link {
    /// 1 Gbit/s, and round trips that take nothing: two machines of one rack.
    fn default() -> Self {
        Self { bytes_per_second: 125e6, round_trip: 0.0 }
    }
}

impl Link {
    /// Seconds that `bytes` take in so many round trips.
    pub fn seconds(&self, bytes: u64, round_trips: f64) -> f64 {
        bytes as f64 / self.bytes_per_second + round_trips * self.round_trip
    }
}

impl std::fmt::Display for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bits = self.bytes_per_second * 8.0;
        if bits < 1e9 {
            write!(f, "{} Mbit/s", bits / 1e6)?
        } else {
            write!(f, "{} Gbit/s", bits / 1e9)?
        }
        if self.round_trip > 0.0 { write!(f, " and {} ms a round trip", self.round_trip * 1e3) } else { Ok(()) }
    }
}

/// Round trips of an update: how often the client waits for what the server sends back.
pub fn round_trips(rounds: &[Round]) -> f64 {
    let updates = rounds.last().map_or(1, |round| round.update + 1);
    rounds.iter().filter(|round| !round.outputs.is_empty()).count() as f64 / f64::from(updates)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_told_in_the_units_of_its_field() {
        let slow = Link { bytes_per_second: 12.5e6, round_trip: 0.03 };
        assert_eq!(Link::default().to_string(), "1 Gbit/s");
        assert_eq!(slow.to_string(), "100 Mbit/s and 30 ms a round trip");
        assert!((slow.seconds(25_000_000, 2.0) - 2.06).abs() < 1e-12);
    }
}
