//! Calibration files: what the arguments of functions and the states took in a clear-text run of a program, for its next
//! compilation. They hold ranges of a rehearsal, not of anybody's data, unless it was rehearsed on data.

use serde::{Deserialize, Serialize};

use crate::{Function, Span};

/// Version of the calibration format; a reader accepts its own.
pub const CALIBRATION_VERSION: u32 = 1;
const MAGIC: &str = "hecc-ranges";
/// Larger files are refused before they are parsed.
const LARGEST_BYTES: usize = 16 << 20;

/// What a clear-text run saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Fingerprint of the program's source, as in its plans.
    pub program: String,
    /// Updates of the run.
    pub updates: usize,
    /// Its seed.
    pub seed: u64,
    /// Arguments of functions, one for each application of each.
    pub arguments: Vec<Argument>,
    /// Carried states, over all updates.
    pub states: Vec<Named>,
    /// Gradients of parameters.
    pub gradients: Vec<Named>,
}

/// The argument of one application of a function.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Argument {
    /// The function and the layer whose parameters it follows, such as `silu after q.0`.
    pub name: String,
    /// The function; `abs` for the difference that a maximum compares.
    pub function: Function,
    /// The layer or expression.
    pub span: Span,
    /// What it took.
    pub spread: Spread,
}

/// What something by name took.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Named {
    /// Its name.
    pub name: String,
    /// What it took.
    pub spread: Spread,
}

/// The range of some values, and their distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// The smallest.
    pub low: f64,
    /// The largest.
    pub high: f64,
    /// The values that 0.1, 1, 50, 99 and 99.9 % of them do not exceed.
    pub quantiles: [f64; 5],
}

/// An interval in place of one that was left in a run of the program.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wider {
    /// The function.
    pub function: String,
    /// The layer or expression.
    pub span: Span,
    /// The interval.
    pub range: [f64; 2],
}

#[derive(Serialize)]
struct FileRef<'a> {
    magic: &'static str,
    version: u32,
    calibration: &'a Calibration,
}

#[derive(Deserialize)]
struct Header {
    magic: Option<String>,
    version: Option<u32>,
}

#[derive(Deserialize)]
struct File {
    calibration: Calibration,
}

/// Why a calibration file was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum CalibrationError {
    /// It is something else.
    #[error("this is not a file of ranges; `hecc calibrate FILE.rl` writes one")]
    NotRanges,
    /// Another format.
    #[error("these ranges have format version {0}, and this hecc reads version {CALIBRATION_VERSION}; calibrate again")]
    Version(u32),
    /// It cannot be read.
    #[error("the file of ranges is damaged: {0}")]
    Damaged(String),
    /// It is of another program, or of this one before it was changed.
    #[error("these ranges were measured on another version of the program; calibrate again")]
    Stale,
}

impl Calibration {
    /// The file's text, the same bytes for the same calibration.
    pub fn write(&self) -> String {
        let file = FileRef { magic: MAGIC, version: CALIBRATION_VERSION, calibration: self };
        serde_json::to_string_pretty(&file).expect("a calibration has only string keys and finite numbers") + "\n"
    }

    /// Reads the calibration of the program with this fingerprint.
    ///
    /// # Errors
    /// [`CalibrationError`].
    pub fn read(text: &[u8], program: &str) -> Result<Self, CalibrationError> {
        let damaged = |error: serde_json::Error| CalibrationError::Damaged(error.to_string());
        if text.len() > LARGEST_BYTES {
            return Err(CalibrationError::Damaged(format!("{} bytes are more than ranges can have", text.len())));
        }
        let header: Header = serde_json::from_slice(text).map_err(|_| CalibrationError::NotRanges)?;
        match (header.magic.as_deref(), header.version) {
            (Some(MAGIC), Some(CALIBRATION_VERSION)) => {}
            (Some(MAGIC), Some(version)) => return Err(CalibrationError::Version(version)),
            _ => return Err(CalibrationError::NotRanges),
        }
        let file: File = serde_json::from_slice(text).map_err(damaged)?;
        let spreads = file.calibration.arguments.iter().map(|a| &a.spread);
        if let Some(bad) = spreads.into_iter().find(|s| !(s.low.is_finite() && s.high.is_finite() && s.low <= s.high)) {
            return Err(CalibrationError::Damaged(format!("a range from {} to {}", bad.low, bad.high)));
        }
        if file.calibration.program == program { Ok(file.calibration) } else { Err(CalibrationError::Stale) }
    }
}

/// Gathers values into a [`Spread`]. All count for the range, evenly chosen ones for the distribution.
#[derive(Clone, Debug)]
pub struct Gathered {
    low: f64,
    high: f64,
    sample: Vec<f64>,
}

impl Default for Gathered {
    fn default() -> Self {
        Self { low: f64::INFINITY, high: f64::NEG_INFINITY, sample: Vec::new() }
    }
}

impl Gathered {
    /// Values of one call that the distribution is made of, at most.
    const PER_CALL: usize = 64;

    /// Adds values.
    pub fn add(&mut self, values: &[f64]) {
        for &v in values {
            (self.low, self.high) = (self.low.min(v), self.high.max(v));
        }
        self.sample.extend(values.iter().step_by(values.len().div_ceil(Self::PER_CALL).max(1)));
    }

    /// What was gathered; `None` if nothing was, or nothing finite.
    pub fn spread(mut self) -> Option<Spread> {
        self.sample.sort_by(f64::total_cmp);
        let last = self.sample.len().checked_sub(1)?;
        let at = |part: f64| self.sample[libm::round(part * last as f64) as usize];
        let quantiles = [0.001, 0.01, 0.5, 0.99, 0.999].map(at);
        (self.low.is_finite() && self.high.is_finite()).then_some(Spread { low: self.low, high: self.high, quantiles })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn calibration() -> Calibration {
        let mut gathered = Gathered::default();
        gathered.add(&(0..=1000).map(|i| f64::from(i) / 100.0 - 5.0).collect::<Vec<_>>());
        let spread = gathered.spread().expect("finite");
        let argument = Argument { name: "silu after q.0".to_owned(), function: Function::Silu, span: Span::default(), spread };
        Calibration { program: "abc".to_owned(), updates: 3, arguments: vec![argument], ..Calibration::default() }
    }

    #[test]
    fn ranges_are_exact_and_quantiles_near() {
        let spread = calibration().arguments[0].spread;
        assert_eq!((spread.low, spread.high), (-5.0, 5.0));
        for (got, want) in spread.quantiles.iter().zip([-4.99, -4.9, 0.0, 4.9, 4.99]) {
            assert!((got - want).abs() < 0.2, "{got} {want}");
        }
        assert_eq!(Gathered::default().spread(), None);
        let mut diverged = Gathered::default();
        diverged.add(&[1.0, f64::INFINITY]);
        assert_eq!(diverged.spread(), None);
    }

    #[test]
    fn files_of_other_programs_and_formats_are_refused() {
        let calibration = calibration();
        let text = calibration.write();
        assert_eq!(Calibration::read(text.as_bytes(), "abc"), Ok(calibration));
        assert_eq!(Calibration::read(text.as_bytes(), "abd"), Err(CalibrationError::Stale));
        assert_eq!(Calibration::read(b"{}", "abc"), Err(CalibrationError::NotRanges));
        assert_eq!(Calibration::read(b"hello", "abc"), Err(CalibrationError::NotRanges));
        let newer = text.replace("\"version\": 1", "\"version\": 9");
        assert_eq!(Calibration::read(newer.as_bytes(), "abc"), Err(CalibrationError::Version(9)));
        let turned = text.replace("\"low\": -5.0", "\"low\": 6.0");
        assert!(matches!(Calibration::read(turned.as_bytes(), "abc"), Err(CalibrationError::Damaged(_))));
    }
}
