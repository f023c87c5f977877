//! Shapes of clear-text programs: what the checker asks so that evaluation cannot fail on well-shaped data.

use crate::{ClearId, ClearOp, ClearProgram, State};

/// Rows and columns of a value.
type Extent = (usize, usize);

const LARGEST: usize = 1 << 24;

/// What a program may refer to.
#[derive(Clone, Debug)]
pub struct Known<'a> {
    /// Carried states.
    pub states: &'a [State],
    /// Values that earlier rounds brought back: number and shape.
    pub values: Vec<(u32, &'a [usize])>,
}

/// Checks every node of `program` for batches of `batch` samples.
///
/// # Errors
/// The first node that does not fit, and why.
pub fn infer(known: &Known<'_>, program: &ClearProgram, batch: usize) -> Result<Vec<Extent>, (usize, String)> {
    let mut extents: Vec<Extent> = Vec::with_capacity(program.nodes.len());
    for (index, node) in program.nodes.iter().enumerate() {
        let extent = node_extent(known, &node.op, batch, &|id: &ClearId| extents[id.0 as usize]);
        let extent = extent.and_then(|(rows, cols)| match rows.checked_mul(cols) {
            Some(1..=LARGEST) => Ok((rows, cols)),
            _ => Err("it is empty or too large".to_owned()),
        });
        extents.push(extent.map_err(|reason| (index, reason))?);
    }
    Ok(extents)
}

/// Rows and columns of an array of that shape.
pub fn extent_of(shape: &[usize]) -> Option<Extent> {
    let total = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|n| (1..=LARGEST).contains(n))?;
    Some(match shape {
        [] => (1, 1),
        [rows, ..] => (*rows, total / rows),
    })
}

fn broadcast((ra, ca): Extent, (rb, cb): Extent) -> Result<Extent, String> {
    let fits = |a: usize, b: usize| a == b || a == 1 || b == 1;
    if fits(ra, rb) && fits(ca, cb) { Ok((ra.max(rb), ca.max(cb))) } else { Err(format!("[{ra}, {ca}] does not go with [{rb}, {cb}]")) }
}

fn node_extent(known: &Known<'_>, op: &ClearOp, batch: usize, of: &dyn Fn(&ClearId) -> Extent) -> Result<Extent, String> {
    let refuse = |reason: &str| Err(reason.to_owned());
    Ok(match op {
        ClearOp::Batch { dim, .. } => (batch, *dim),
        ClearOp::State(name) => {
            let state = known.states.iter().find(|s| s.name == *name).ok_or_else(|| format!("no state `{name}`"))?;
            extent_of(&state.shape).ok_or("its state is too large")?
        }
        ClearOp::Decrypted(value) => {
            let mut shapes = known.values.iter().filter(|(id, _)| id == value).map(|(_, shape)| *shape);
            let shape = shapes.next().ok_or_else(|| format!("no exchange brings value {value}"))?;
            if shapes.any(|other| other != shape) {
                return refuse("its parts have different shapes");
            }
            extent_of(shape).ok_or("its value is too large")?
        }
        ClearOp::Number(c) if c.is_finite() => (1, 1),
        ClearOp::Number(_) => return refuse("the number is not finite"),
        ClearOp::Normalise { x, ranges } => {
            let ordered = ranges.iter().all(|[low, high]| low.is_finite() && high.is_finite() && low < high);
            if !ordered || of(x).1 != ranges.len() {
                return refuse("its ranges do not fit");
            }
            of(x)
        }
        ClearOp::Add(a, b)
        | ClearOp::Sub(a, b)
        | ClearOp::Mul(a, b)
        | ClearOp::Div(a, b)
        | ClearOp::Min(a, b)
        | ClearOp::Max(a, b)
        | ClearOp::Atan2(a, b) => broadcast(of(a), of(b))?,
        ClearOp::Select(c, a, b) => broadcast(broadcast(of(c), of(a))?, of(b))?,
        ClearOp::Affine { x, factor, offset } if factor.is_finite() && offset.is_finite() => of(x),
        ClearOp::Clip { x, low, high } if low <= high => of(x),
        ClearOp::Due { update, .. } => of(update),
        ClearOp::Affine { .. } | ClearOp::Clip { .. } => return refuse("its constants"),
        ClearOp::Map(_, x) | ClearOp::Derivative(_, x) | ClearOp::ArgMax(x) => of(x),
        ClearOp::Chebyshev { x, centre, half, coefficients } => {
            if !centre.is_finite() || !half.is_normal() || coefficients.len() > 4096 {
                return refuse("its interval or its degree");
            }
            of(x)
        }
        ClearOp::SumElements(x) | ClearOp::MaxElements(x) => (of(x).0, 1),
        ClearOp::Slice { x, start, len } => match start.checked_add(*len) {
            Some(end) if end <= of(x).1 => (of(x).0, *len),
            _ => return refuse("it slices beyond its argument"),
        },
        ClearOp::Concat(parts) => {
            let rows = parts.iter().map(|p| of(p).0).max().unwrap_or(0);
            if parts.iter().any(|p| of(p).0 != rows && of(p).0 != 1) {
                return refuse("its parts have different lengths");
            }
            (rows, parts.iter().map(|p| of(p).1).sum())
        }
        ClearOp::MeanBatch(x) => (1, of(x).1),
        ClearOp::Dense { x, weight, bias } => {
            let (out, inputs) = of(weight);
            if inputs != of(x).1 || bias.as_ref().is_some_and(|b| of(b).0 * of(b).1 != out) {
                return refuse("weights, bias and argument do not fit");
            }
            (of(x).0, out)
        }
        ClearOp::Expand { x, ties } => ties.expanded(of(x), LARGEST).ok_or("its ties are another parameter's")?,
        ClearOp::Collect { x, ties } => ties.collected(of(x), LARGEST).ok_or("its ties are another parameter's")?,
        ClearOp::Patches { x, window } => match window.patched(LARGEST) {
            Some(size) if of(x).1 == window.input() => (of(x).0, size),
            _ => return refuse("its argument is no such image"),
        },
        ClearOp::Outer(a, b) => match of(a).1.checked_mul(of(b).1) {
            Some(cols) if of(a).0 == of(b).0 => (of(a).0, cols),
            _ => return refuse("its arguments do not fit"),
        },
        ClearOp::Fourier { x, n, .. } => {
            if of(x).1.checked_mul(*n).is_none_or(|size| size > LARGEST) {
                return refuse("too many features");
            }
            (of(x).0, *n)
        }
        ClearOp::TensorFourier { angle, k, x, j, .. } => {
            if of(angle).1 != 1 || of(angle) != of(x) || *k > 4096 || *j > 4096 {
                return refuse("its arguments do not fit");
            }
            (of(x).0, (2 * k + 1) * (j + 1))
        }
    })
}
