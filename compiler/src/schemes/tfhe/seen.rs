//! What is known of values beside a sample of them.

use hecc_plan::calibration::Calibration;
use hecc_plan::{Function, Span};

use super::served::Moving;

/// How far weights may go beyond what a rehearsal saw of them.
pub const MARGIN: f64 = 1.25;

/// What is known.
#[derive(Clone, Copy, Default)]
pub struct Seen<'a> {
    /// Of weights that are not there yet.
    pub moving: Option<&'a Moving<'a>>,
    /// What a rehearsal of this source measured.
    pub measured: Option<&'a Calibration>,
}

impl Seen<'_> {
    /// The magnitude that all but one in a thousand arguments of a function that was asked for there do not
    /// exceed; `abs` for what a maximum compares.
    pub fn argument(&self, function: Function, span: Span) -> Option<f64> {
        let same = self.measured?.arguments.iter().filter(|argument| argument.function == function && argument.span == span);
        let [low, high] = [0, 4];
        let usual = same.map(|argument| argument.spread.quantiles).map(|q| q[low].abs().max(q[high].abs()));
        usual.max_by(f64::total_cmp).filter(|bound| bound.is_normal())
    }

    /// The largest magnitude of a state.
    pub fn state(&self, name: &str) -> Option<f64> {
        let spread = self.measured?.states.iter().find(|state| state.name == name)?.spread;
        Some(MARGIN * spread.low.abs().max(spread.high.abs())).filter(|bound| bound.is_normal())
    }
}
