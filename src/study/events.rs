//! Curves as event files that TensorBoard reads: records with checksums, each a protocol-buffer message.

use hecc_runtime::session::Point;
use prost::Message;

/// `Event` of TensorFlow's `event.proto`, as far as scalars need it.
#[derive(Clone, PartialEq, Message)]
struct Event {
    /// Seconds since 1970.
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    value: Vec<Value>,
}

#[derive(Clone, PartialEq, Message)]
struct Value {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
}

/// The event file of one run's curve: mean, least and largest return at each point. `now`: seconds since 1970 at the last
/// point.
pub fn file(curve: &[Point], now: f64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let last = curve.last().map_or(0.0, |point| point.seconds);
    let at = |seconds: f64| now - last + seconds;
    record(&mut bytes, &Event { wall_time: at(0.0), step: 0, file_version: Some("brain.Event:2".to_owned()), summary: None });
    for point in curve {
        let named = [("return/mean", point.mean), ("return/min", point.min), ("return/max", point.max)];
        let value = named.map(|(tag, value)| Value { tag: tag.to_owned(), simple_value: Some(value as f32) }).to_vec();
        let step = i64::try_from(point.update).unwrap_or(i64::MAX);
        record(&mut bytes, &Event { wall_time: at(point.seconds), step, file_version: None, summary: Some(Summary { value }) });
    }
    bytes
}

/// Length, its checksum, the message, its checksum.
fn record(bytes: &mut Vec<u8>, event: &Event) {
    let message = event.encode_to_vec();
    let length = (message.len() as u64).to_le_bytes();
    bytes.extend_from_slice(&length);
    bytes.extend_from_slice(&masked(&length).to_le_bytes());
    bytes.extend_from_slice(&message);
    bytes.extend_from_slice(&masked(&message).to_le_bytes());
}

/// CRC-32C as records have it: rotated and moved, since checksums of data that hold checksums are weak.
fn masked(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_reads_back() {
        let point = |update, mean| Point { update, seconds: update as f64, episodes: 2, mean, min: mean - 1.0, max: mean + 1.0 };
        let bytes = file(&[point(50, 10.0), point(100, 20.0)], 1e9);
        let mut rest = &bytes[..];
        let mut events = Vec::new();
        while !rest.is_empty() {
            let (length, after) = rest.split_at(8);
            let word = |b: &[u8]| u32::from_le_bytes(b.try_into().expect("four bytes"));
            assert_eq!(word(&after[..4]), masked(length));
            let n = u64::from_le_bytes(length.try_into().expect("eight bytes")) as usize;
            let message = &after[4..4 + n];
            assert_eq!(word(&after[4 + n..8 + n]), masked(message));
            events.push(Event::decode(message).expect("a message"));
            rest = &after[8 + n..];
        }
        assert_eq!(events[0].file_version.as_deref(), Some("brain.Event:2"));
        assert_eq!((events[2].step, events[2].wall_time, events[1].wall_time), (100, 1e9, 1e9 - 50.0));
        let values = &events[2].summary.as_ref().expect("scalars").value;
        assert_eq!((values[0].tag.as_str(), values[0].simple_value, values[2].simple_value), ("return/mean", Some(20.0), Some(21.0)));
    }

    #[test]
    fn checksums_are_those_of_the_format() {
        // CRC-32C of "123456789" is e3069283 (RFC 3720, appendix B.4, has others); rotated by 15 and moved by the constant.
        assert_eq!(crc32c::crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(masked(b"123456789"), 0xe306_9283_u32.rotate_right(15).wrapping_add(0xa282_ead8));
    }
}
