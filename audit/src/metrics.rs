//! How near a reconstruction comes: of pictures, boxes, numbers and vectors.

/// What identical pictures count as, in dB; a mean over samples would be infinite otherwise.
pub const MOST_PSNR: f64 = 100.0;
/// The side of the window of [`ssim`].
const WINDOW: usize = 11;
/// The standard deviation of its weights.
const SIGMA: f64 = 1.5;
/// Its two constants, for values in [0, 1].
const STABLE: [f64; 2] = [0.01 * 0.01, 0.03 * 0.03];

/// Luma of a picture whose red, green and blue planes follow each other (ITU-R BT.601, full range), or the only plane of one.
/// None for another number of planes.
pub fn luma(planes: &[f64], count: usize) -> Option<Vec<f64>> {
    match count {
        1 => Some(planes.to_vec()),
        3 if planes.len().is_multiple_of(3) => {
            let (red, rest) = planes.split_at(planes.len() / 3);
            let (green, blue) = rest.split_at(planes.len() / 3);
            Some(red.iter().zip(green).zip(blue).map(|((r, g), b)| 0.299 * r + 0.587 * g + 0.114 * b).collect())
        }
        _ => None,
    }
}

/// Mean of the squared differences; none of arrays that differ in length or are empty.
pub fn mean_square(a: &[f64], b: &[f64]) -> Option<f64> {
    (a.len() == b.len() && !a.is_empty()).then(|| a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>() / a.len() as f64)
}

/// Peak signal-to-noise ratio in dB, of values in [0, 1]: at most [`MOST_PSNR`]. None of arrays that differ in length or are empty.
pub fn psnr(a: &[f64], b: &[f64]) -> Option<f64> {
    mean_square(a, b).map(|square| if square.is_nan() { f64::NAN } else { (-10.0 * libm::log10(square)).min(MOST_PSNR) })
}

/// Structural similarity of two planes of values in [0, 1], as Wang et al. define it (IEEE Transactions on Image Processing 13,
/// 2004): a Gaussian window of 11 by 11 with a standard deviation of 1.5, over every place where it fits. None of planes that
/// differ or are smaller than the window.
pub fn ssim(a: &[f64], b: &[f64], height: usize, width: usize) -> Option<f64> {
    let size = height.checked_mul(width)?;
    if a.len() != size || b.len() != size || height < WINDOW || width < WINDOW {
        return None;
    }
    let blur = |of: &dyn Fn(usize) -> f64| windowed(&(0..size).map(of).collect::<Vec<_>>(), height, width);
    let (ma, mb) = (blur(&|i| a[i]), blur(&|i| b[i]));
    let (aa, bb, ab) = (blur(&|i| a[i] * a[i]), blur(&|i| b[i] * b[i]), blur(&|i| a[i] * b[i]));
    let sum: f64 = (0..ma.len())
        .map(|i| {
            let (x, y) = (ma[i], mb[i]);
            let (vx, vy, cov) = (aa[i] - x * x, bb[i] - y * y, ab[i] - x * y);
            (2.0 * x * y + STABLE[0]) * (2.0 * cov + STABLE[1]) / ((x * x + y * y + STABLE[0]) * (vx + vy + STABLE[1]))
        })
        .sum();
    Some(sum / ma.len() as f64)
}

/// Weighted means over the window, wherever it fits.
fn windowed(plane: &[f64], height: usize, width: usize) -> Vec<f64> {
    let weights = gaussian();
    let inner = width - WINDOW + 1;
    let mean = |at: &dyn Fn(usize) -> f64| weights.iter().enumerate().map(|(k, w)| w * at(k)).sum::<f64>();
    let mut rows = Vec::with_capacity(height * inner);
    for y in 0..height {
        rows.extend((0..inner).map(|x| mean(&|k| plane[y * width + x + k])));
    }
    let mut out = Vec::with_capacity((height - WINDOW + 1) * inner);
    for y in 0..=height - WINDOW {
        out.extend((0..inner).map(|x| mean(&|k| rows[(y + k) * inner + x])));
    }
    out
}

fn gaussian() -> [f64; WINDOW] {
    let middle = (WINDOW / 2) as f64;
    let mut weights: [f64; WINDOW] = std::array::from_fn(|i| {
        let d = i as f64 - middle;
        libm::exp(-d * d / (2.0 * SIGMA * SIGMA))
    });
    let sum: f64 = weights.iter().sum();
    weights.iter_mut().for_each(|w| *w /= sum);
    weights
}

/// Intersection over union of two boxes, each left, top, right, bottom. A box without area meets nothing; one that is no numbers
/// gives NaN.
pub fn iou(a: &[f64; 4], b: &[f64; 4]) -> f64 {
    if !a.iter().chain(b).all(|v| v.is_finite()) {
        return f64::NAN;
    }
    let area = |b: &[f64; 4]| (b[2] - b[0]).max(0.0) * (b[3] - b[1]).max(0.0);
    let common = area(&[a[0].max(b[0]), a[1].max(b[1]), a[2].min(b[2]), a[3].min(b[3])]);
    let union = area(a) + area(b) - common;
    if union > 0.0 { common / union } else { 0.0 }
}

/// By how many per cent of its size a number was missed; none of the number 0.
pub fn percentage_error(guessed: f64, actual: f64) -> Option<f64> {
    (actual != 0.0).then(|| 100.0 * (guessed - actual).abs() / actual.abs())
}

/// The largest and the mean absolute difference; none of arrays that differ in length or are empty. NaN stays NaN.
pub fn vector_error(guessed: &[f64], actual: &[f64]) -> Option<VectorError> {
    if guessed.len() != actual.len() || guessed.is_empty() {
        return None;
    }
    let differences = || guessed.iter().zip(actual).map(|(a, b)| (a - b).abs());
    let most = differences().fold(0.0, |most: f64, d| if d.is_nan() || d > most { d } else { most });
    let mean = differences().sum::<f64>() / guessed.len() as f64;
    Some(VectorError { most: if mean.is_nan() { f64::NAN } else { most }, mean })
}

/// How far a vector was missed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct VectorError {
    /// In the element that was missed by most.
    pub most: f64,
    /// On average.
    pub mean: f64,
}
