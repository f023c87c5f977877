//! How far reconstructed transitions are from the true ones, whose order no gradient of a batch tells.

use hecc_compiler::inspection::Rows;
use hecc_compiler::tensor::Data;

/// The largest absolute errors over a batch, in the units of the body (observations and actions in [-1, 1]).
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Errors {
    /// Of observations and features.
    pub state: f64,
    /// Of the action.
    pub action: f64,
    /// Of the reward.
    pub reward: f64,
    /// Of the next observations and features.
    pub next_state: f64,
}

/// Errors of a reconstruction of `batch` transitions, each compared with the true one that is nearest and not taken yet.
pub fn errors(found: &Rows, truth: &Rows, batch: usize) -> Option<Errors> {
    let state = |data: &Data| matches!(data, Data::Observation { next: false, .. } | Data::Feature { next: false, .. } | Data::Action);
    let mut pairs = Vec::new();
    for a in 0..batch {
        for b in 0..batch {
            pairs.push((off(found, truth, batch, (a, b), state)?, a, b));
        }
    }
    pairs.sort_by(|x, y| x.0.total_cmp(&y.0));
    let (mut taken, mut errors) = ((vec![false; batch], vec![false; batch]), Errors::default());
    for (_, a, b) in pairs {
        if taken.0[a] || taken.1[b] {
            continue;
        }
        (taken.0[a], taken.1[b]) = (true, true);
        let mut worst = |error: fn(&mut Errors) -> &mut f64, wanted: fn(&Data) -> bool| {
            let off = off(found, truth, batch, (a, b), wanted)?;
            let error = error(&mut errors);
            // What is no number is no success either.
            *error = if off.is_nan() { off } else { error.max(off) };
            Some(())
        };
        worst(|e| &mut e.state, |d| matches!(d, Data::Observation { next: false, .. } | Data::Feature { next: false, .. }))?;
        worst(|e| &mut e.action, |d| matches!(d, Data::Action))?;
        worst(|e| &mut e.reward, |d| matches!(d, Data::Reward))?;
        worst(|e| &mut e.next_state, |d| matches!(d, Data::Observation { next: true, .. } | Data::Feature { next: true, .. }))?;
    }
    Some(errors)
}

/// The largest difference of sample `a` of one batch and sample `b` of another, over some of their values.
fn off(found: &Rows, truth: &Rows, batch: usize, (a, b): (usize, usize), wanted: impl Fn(&Data) -> bool) -> Option<f64> {
    let mut worst = 0.0f64;
    for (data, values) in truth.iter().filter(|(data, _)| wanted(data)) {
        let other = found.get(data)?;
        let dim = values.len() / batch;
        for (x, y) in other.get(a * dim..(a + 1) * dim)?.iter().zip(&values[b * dim..(b + 1) * dim]) {
            let d = (x - y).abs();
            worst = if d.is_nan() { d } else { worst.max(d) };
        }
    }
    Some(worst)
}
