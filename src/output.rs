//! Writing to the terminal: results to standard output, the rest to standard error. A reader that went away is no error.

use std::io::{ErrorKind, Write};

use hecc_plan::Span;

use crate::failure::Failure;

/// Prints a result, with a line end if it has none.
///
/// # Errors
/// If standard output cannot take it, unless nobody reads any more.
pub fn say(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') { "" } else { "\n" };
    match write!(out, "{text}{end}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::machine(format!("cannot write to standard output: {error}"))),
        _ => Ok(()),
    }
}

/// Prints a note or an error. Where standard error is gone, there is nobody left to tell.
pub fn complain(text: &str) {
    let end = if text.ends_with('\n') { "" } else { "\n" };
    let _ = write!(std::io::stderr().lock(), "{text}{end}");
}

/// Lays out names and values in two columns.
pub fn table(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}

/// A number of bytes for people.
pub fn bytes(count: u64) -> String {
    match count {
        0..1024 => format!("{count} B"),
        1024..1_048_576 => format!("{:.1} KiB", count as f64 / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", count as f64 / 1_048_576.0),
        _ => format!("{:.2} GiB", count as f64 / 1_073_741_824.0),
    }
}

/// A mean of counts, for people.
pub fn mean(mean: f64) -> String {
    format!("{}", (100.0 * mean).round() / 100.0)
}

/// So many of a thing.
pub fn counted(count: usize, thing: &str) -> String {
    if count == 1 { format!("1 {thing}") } else { format!("{count} {thing}s") }
}

/// The number of a source's line, from 1; `None` for what stands nowhere.
pub fn line(source: &str, span: Span) -> Option<usize> {
    let before = source.as_bytes().get(..span.start as usize)?;
    (span != Span::default()).then(|| 1 + before.iter().filter(|&&b| b == b'\n').count())
}

/// Seconds for people.
pub fn seconds(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.2} s");
    }
    let whole = seconds.round() as u64;
    match whole {
        0..60 => format!("{whole} s"),
        60..3600 => format!("{} min {:02} s", whole / 60, whole % 60),
        _ => format!("{} h {:02} min", whole / 3600, whole % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_well() {
        assert_eq!([bytes(12), bytes(1536), bytes(5 << 20), bytes(3 << 30)], ["12 B", "1.5 KiB", "5.0 MiB", "3.00 GiB"]);
        assert_eq!([mean(108.0), mean(0.5), mean(1.0 / 3.0)], ["108", "0.5", "0.33"]);
        assert_eq!([counted(0, "step"), counted(1, "step"), counted(2, "step")], ["0 steps", "1 step", "2 steps"]);
        assert_eq!([seconds(0.25), seconds(59.9), seconds(61.0), seconds(7300.0)], ["0.25 s", "1 min 00 s", "1 min 01 s", "2 h 01 min"]);
        assert_eq!(table(&[("a", "1".to_owned()), ("long", "2".to_owned())]), "a     1\nlong  2\n");
    }
}
