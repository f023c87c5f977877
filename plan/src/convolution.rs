//! Convolutions on doubles, by patches laid out as columns; and the same as a matrix whose elements are tied, which is what
//! ciphertexts multiply.

use serde::{Deserialize, Serialize};

use crate::Tensor;

use std::ops::Range;

/// A two-dimensional convolution without padding. Images are `[channels, height, width]`, row-major; weights `[out, channels *
/// kernel * kernel]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Window {
    /// Channels of the input.
    pub channels: usize,
    /// Rows of the input.
    pub height: usize,
    /// Columns of the input.
    pub width: usize,
    /// Channels of the output.
    pub outputs: usize,
    /// Side of the square kernel.
    pub kernel: usize,
    /// Stride.
    pub stride: usize,
}

impl Window {
    /// Elements of the input.
    pub fn input(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Rows of the output.
    pub fn rows(&self) -> usize {
        (self.height - self.kernel) / self.stride + 1
    }

    /// Columns of the output.
    pub fn columns(&self) -> usize {
        (self.width - self.kernel) / self.stride + 1
    }

    /// Places that the kernel takes.
    pub fn places(&self) -> usize {
        self.rows() * self.columns()
    }

    /// How far apart the numbers of a patch stand, in vectors that have all places of each side by side.
    pub fn pitch(&self) -> usize {
        self.places().next_power_of_two()
    }

    /// Elements of the output.
    pub fn output(&self) -> usize {
        self.outputs * self.places()
    }

    /// Weights for one channel of the output.
    pub fn patch(&self) -> usize {
        self.channels * self.kernel * self.kernel
    }

    /// Whether the kernel fits, so that the sizes above are defined.
    pub fn is_sound(&self) -> bool {
        self.kernel > 0 && self.stride > 0 && self.kernel <= self.height && self.kernel <= self.width
    }

    /// Whether no size overflows, nor has more than `limit` elements.
    fn sizes_within(&self, limit: usize) -> bool {
        let within = |factors: [usize; 3]| factors.iter().try_fold(1usize, |n, &f| n.checked_mul(f)).is_some_and(|n| n <= limit);
        within([self.channels, self.height, self.width]) && within([self.outputs, self.rows(), self.columns()])
    }

    /// Elements of all patches of one image, if they are no more than `limit`.
    pub fn patched(&self, limit: usize) -> Option<usize> {
        let sound = self.is_sound() && self.sizes_within(limit) && self.places() <= limit;
        sound.then(|| self.patch().checked_mul(self.pitch())).flatten().filter(|size| *size <= limit)
    }

    /// Every product of the convolution: which weight of `[out, patch]` joins which element of the output with which of the input.
    pub fn visit(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let (patch, places, wide) = (self.patch(), self.places(), self.columns());
        for channel in 0..self.outputs {
            for (index, offset) in self.offsets().enumerate() {
                for place in 0..places {
                    let input = offset + (place / wide * self.width + place % wide) * self.stride;
                    visit(channel * patch + index, channel * places + place, input);
                }
            }
        }
    }

    /// For each weight of one output channel: the first element of the input that it meets.
    fn offsets(&self) -> impl Iterator<Item = usize> + use<> {
        let Window { channels, height, width, kernel, .. } = *self;
        (0..channels).flat_map(move |c| (0..kernel).flat_map(move |y| (0..kernel).map(move |x| (c * height + y) * width + x)))
    }

    /// What each weight meets in some rows of places: `[patch, places of these rows]` of one image.
    fn unfold(&self, image: &[f64], rows: Range<usize>, columns: &mut [f64]) {
        let wide = self.columns();
        for (offset, column) in self.offsets().zip(columns.chunks_mut(rows.len() * wide)) {
            for (y, out) in rows.clone().zip(column.chunks_mut(wide)) {
                let from = offset + y * self.stride * self.width;
                if self.stride == 1 {
                    out.copy_from_slice(&image[from..from + wide]);
                } else {
                    out.iter_mut().zip(image[from..].iter().step_by(self.stride)).for_each(|(o, v)| *o = *v);
                }
            }
        }
    }

    /// All patches of `batch` images `[batch, patch, pitch]`: what each weight of a kernel meets, place by place, then zeros.
    pub fn patches(&self, batch: usize, images: &[f64]) -> Vec<f64> {
        let (places, pitch) = (self.places(), self.pitch());
        let mut out = vec![0.0; batch * self.patch() * pitch];
        let mut columns = vec![0.0; self.patch() * places];
        for (image, out) in images.chunks(self.input()).zip(out.chunks_mut(self.patch() * pitch)) {
            self.unfold(image, 0..self.rows(), &mut columns);
            out.chunks_mut(pitch).zip(columns.chunks(places)).for_each(|(out, column)| out[..places].copy_from_slice(column));
        }
        out
    }

    /// The convolution of patches: `[batch, outputs, pitch]`.
    pub fn at_places(&self, patches: &[f64], weights: &[f64]) -> Vec<f64> {
        let (patch, pitch) = (self.patch(), self.pitch());
        let mut out = vec![0.0; patches.len() / patch * self.outputs];
        for (patches, out) in patches.chunks(patch * pitch).zip(out.chunks_mut(self.outputs * pitch)) {
            for (weights, out) in weights.chunks(patch).zip(out.chunks_mut(pitch)) {
                combine(weights, patches, out);
            }
        }
        out
    }

    /// Its adjoint in the weights, summed over the batch and the places.
    pub fn gradient_at_places(&self, delta: &[f64], patches: &[f64]) -> Vec<f64> {
        let (patch, pitch) = (self.patch(), self.pitch());
        let mut out = vec![0.0; self.outputs * patch];
        for (delta, patches) in delta.chunks(self.outputs * pitch).zip(patches.chunks(patch * pitch)) {
            for (delta, out) in delta.chunks(pitch).zip(out.chunks_mut(patch)) {
                out.iter_mut().zip(patches.chunks(pitch)).for_each(|(out, column)| *out += dot(delta, column));
            }
        }
        out
    }

    /// Rows of places, a few at a time.
    fn bands(&self) -> impl Iterator<Item = Range<usize>> + use<> {
        let (rows, step) = (self.rows(), (BAND / self.columns()).max(1));
        (0..rows).step_by(step).map(move |from| from..(from + step).min(rows))
    }

    /// The convolution of `batch` images.
    pub fn forward(&self, batch: usize, images: &[f64], weights: &[f64]) -> Vec<f64> {
        let (places, patch, wide) = (self.places(), self.patch(), self.columns());
        let mut out = vec![0.0; batch * self.output()];
        let mut columns = vec![0.0; patch * places.min(BAND.max(wide))];
        for (image, out) in images.chunks(self.input()).zip(out.chunks_mut(self.output())) {
            for rows in self.bands() {
                let band = rows.start * wide..rows.end * wide;
                let columns = &mut columns[..patch * band.len()];
                self.unfold(image, rows, columns);
                for (weights, out) in weights.chunks(patch).zip(out.chunks_mut(places)) {
                    combine(weights, columns, &mut out[band.clone()]);
                }
            }
        }
        out
    }

    /// The adjoint in the images: what `delta` at the output is at the input.
    pub fn transpose(&self, batch: usize, delta: &[f64], weights: &[f64]) -> Vec<f64> {
        let (places, patch, wide) = (self.places(), self.patch(), self.columns());
        let turned: Vec<f64> = (0..patch).flat_map(|index| weights[index..].iter().step_by(patch).copied()).collect();
        let mut out = vec![0.0; batch * self.input()];
        let (mut deltas, mut column) = (Vec::new(), Vec::new());
        for (delta, image) in delta.chunks(self.output()).zip(out.chunks_mut(self.input())) {
            for rows in self.bands() {
                let band = rows.start * wide..rows.end * wide;
                deltas.clear();
                delta.chunks(places).for_each(|delta| deltas.extend_from_slice(&delta[band.clone()]));
                for (weights, offset) in turned.chunks(self.outputs).zip(self.offsets()) {
                    column.clear();
                    column.resize(band.len(), 0.0);
                    combine(weights, &deltas, &mut column);
                    for (y, row) in rows.clone().zip(column.chunks(wide)) {
                        let from = offset + y * self.stride * self.width;
                        image[from..].iter_mut().step_by(self.stride).zip(row).for_each(|(o, v)| *o += v);
                    }
                }
            }
        }
        out
    }

    /// The adjoint in the weights, summed over the batch.
    pub fn gradient(&self, batch: usize, delta: &[f64], images: &[f64]) -> Vec<f64> {
        let (places, patch, wide) = (self.places(), self.patch(), self.columns());
        let mut out = vec![0.0; self.outputs * patch];
        let mut columns = vec![0.0; patch * places.min(BAND.max(wide))];
        for (delta, image) in delta.chunks(self.output()).zip(images.chunks(self.input())).take(batch) {
            for rows in self.bands() {
                let band = rows.start * wide..rows.end * wide;
                let columns = &mut columns[..patch * band.len()];
                self.unfold(image, rows, columns);
                for (delta, out) in delta.chunks(places).zip(out.chunks_mut(patch)) {
                    for (column, out) in columns.chunks(band.len()).zip(out) {
                        *out += dot(&delta[band.clone()], column);
                    }
                }
            }
        }
        out
    }
}

/// How the elements of a parameter stand in the larger one that a layer takes: each in several places, the others 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Ties {
    /// Kernels `[out, patch]` in the matrix `[output, input]` of their convolution.
    Kernel(Window),
    /// Kernels `[out, patch]` in the matrix `[out · pitch, patch · pitch]` that multiplies patches: the same at every place.
    Places(Window),
    /// Vectors, or the columns of a matrix, whose runs are followed by gaps up to the pitch.
    Pitch {
        /// Numbers in a row.
        run: usize,
        /// From the first of them to the next first, more than the run.
        pitch: usize,
    },
    /// Each element of a vector so many times in a row: a bias of each channel at every place.
    Runs(usize),
    /// Rows, and columns, so far apart, from a first one: a parameter among others of its shape that stand interleaved with it.
    Strided {
        /// Where the first row and the first column stand, below the steps.
        first: [usize; 2],
        /// From one row to the next, and from one column to the next.
        step: [usize; 2],
    },
}

impl Ties {
    /// Rows and columns of what a parameter of that many becomes; `None` for another parameter's ties, or beyond `limit` elements.
    pub fn expanded(&self, (rows, cols): (usize, usize), limit: usize) -> Option<(usize, usize)> {
        let size = match self {
            Ties::Kernel(w) => {
                (w.is_sound() && w.sizes_within(limit) && (rows, cols) == (w.outputs, w.patch())).then(|| (w.output(), w.input()))
            }
            Ties::Places(w) => {
                let fits = w.is_sound() && w.sizes_within(limit) && w.pitch() <= limit && (rows, cols) == (w.outputs, w.patch());
                fits.then(|| Some((rows.checked_mul(w.pitch())?, cols.checked_mul(w.pitch())?))).flatten()
            }
            Ties::Pitch { run, pitch } => {
                let fits = *run > 0 && pitch > run && cols.is_multiple_of(*run);
                fits.then(|| (cols / run).checked_mul(*pitch)).flatten().map(|cols| (rows, cols))
            }
            Ties::Runs(times) => (cols == 1).then(|| rows.checked_mul(*times)).flatten().map(|rows| (rows, 1)),
            Ties::Strided { first, step } => {
                let fits = first.iter().zip(step).all(|(first, step)| first < step);
                fits.then(|| Some((rows.checked_mul(step[0])?, cols.checked_mul(step[1])?))).flatten()
            }
        };
        size.filter(|(rows, cols)| rows.checked_mul(*cols).is_some_and(|size| (1..=limit).contains(&size)))
    }

    /// Rows and columns of what such a larger parameter is collected to.
    pub fn collected(&self, (rows, cols): (usize, usize), limit: usize) -> Option<(usize, usize)> {
        let own = match self {
            Ties::Kernel(w) | Ties::Places(w) => (w.is_sound() && w.sizes_within(limit)).then(|| (w.outputs, w.patch())),
            Ties::Pitch { run, pitch } => cols.checked_div(*pitch).and_then(|runs| Some((rows, runs.checked_mul(*run)?))),
            Ties::Runs(times) => rows.checked_div(*times).map(|rows| (rows, 1)),
            Ties::Strided { step, .. } => rows.checked_div(step[0]).zip(cols.checked_div(step[1])),
        };
        own.filter(|own| self.expanded(*own, limit) == Some((rows, cols)))
    }

    /// The larger parameter; `None` if the ties are of another.
    pub fn expand(&self, x: &Tensor) -> Option<Tensor> {
        let (rows, cols) = self.expanded(x.rows_cols(), usize::MAX)?;
        let mut out = Tensor::zeros(&self.shape(x, (rows, cols)));
        self.visit(x.rows_cols(), |own, place| out.data[place] = x.data[own]);
        Some(out)
    }

    /// Its adjoint: the sum of what stands in the places of each element.
    pub fn collect(&self, x: &Tensor) -> Option<Tensor> {
        let (rows, cols) = self.collected(x.rows_cols(), usize::MAX)?;
        let mut out = Tensor::zeros(&self.shape(x, (rows, cols)));
        self.visit((rows, cols), |own, place| out.data[own] += x.data[place]);
        Some(out)
    }

    /// Of a vector it is a vector.
    fn shape(&self, x: &Tensor, (rows, cols): (usize, usize)) -> Vec<usize> {
        let vector = matches!(self, Ties::Runs(_)) || (x.shape.len() == 1 && cols == 1);
        if vector { vec![rows] } else { vec![rows, cols] }
    }

    /// Every element of a parameter of that size with each of its places.
    fn visit(&self, (rows, cols): (usize, usize), mut visit: impl FnMut(usize, usize)) {
        match self {
            Ties::Kernel(w) => w.visit(|weight, output, input| visit(weight, output * w.input() + input)),
            Ties::Places(w) => {
                let pitch = w.pitch();
                for weight in 0..rows * cols {
                    let (row, col) = (weight / cols * pitch, weight % cols * pitch);
                    (0..w.places()).for_each(|place| visit(weight, (row + place) * cols * pitch + col + place));
                }
            }
            Ties::Pitch { run, pitch } => (0..rows * cols).for_each(|own| visit(own, own / run * pitch + own % run)),
            Ties::Runs(times) => (0..rows * times).for_each(|place| visit(place / times, place)),
            Ties::Strided { first, step } => {
                for own in 0..rows * cols {
                    let (row, col) = (own / cols * step[0] + first[0], own % cols * step[1] + first[1]);
                    visit(own, row * cols * step[1] + col);
                }
            }
        }
    }
}

/// Places that are worked on at once, so that what the weights meet there stays in the cache.
const BAND: usize = 512;

/// `out += Σ weight row`, four rows at a time; rows are as long as `out`.
fn combine(weights: &[f64], rows: &[f64], out: &mut [f64]) {
    let len = out.len();
    for (weights, rows) in weights.chunks(4).zip(rows.chunks(4 * len)) {
        if let &[p, q, r, s] = weights {
            let ((a, rest), out) = (rows.split_at(len), &mut *out);
            let (b, rest) = rest.split_at(len);
            let (c, d) = rest.split_at(len);
            for ((((o, a), b), c), d) in out.iter_mut().zip(a).zip(b).zip(c).zip(d) {
                *o = *o + p * a + q * b + r * c + s * d;
            }
        } else {
            for (w, row) in weights.iter().zip(rows.chunks(len)) {
                out.iter_mut().zip(row).for_each(|(o, x)| *o += w * x);
            }
        }
    }
}

/// Σ a b, in eight sums that do not wait for each other.
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; 8];
    let (whole, rest) = (a.chunks_exact(8), a.chunks_exact(8).remainder().iter().zip(b.chunks_exact(8).remainder()));
    for (a, b) in whole.zip(b.chunks_exact(8)) {
        for i in 0..8 {
            sums[i] += a[i] * b[i];
        }
    }
    sums.iter().sum::<f64>() + rest.map(|(a, b)| a * b).sum::<f64>()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of the definition, element by element.
    fn plain(w: &Window, image: &[f64], weights: &[f64]) -> Vec<f64> {
        let mut out = Vec::new();
        for o in 0..w.outputs {
            for y in 0..w.rows() {
                for x in 0..w.columns() {
                    let mut sum = 0.0;
                    for c in 0..w.channels {
                        for i in 0..w.kernel {
                            for j in 0..w.kernel {
                                let weight = weights[((o * w.channels + c) * w.kernel + i) * w.kernel + j];
                                sum += weight * image[(c * w.height + y * w.stride + i) * w.width + x * w.stride + j];
                            }
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    fn numbers(count: usize, phase: f64) -> Vec<f64> {
        (0..count).map(|i| libm::sin(phase + 1.7 * i as f64 * i as f64)).collect()
    }

    #[test]
    fn as_a_matrix_it_is_the_same_and_so_is_its_gradient() {
        for (stride, kernel, height, width) in [(1, 3, 6, 5), (2, 3, 8, 9), (3, 2, 7, 11), (1, 1, 2, 2), (2, 5, 5, 14)] {
            let w = Window { channels: 2, height, width, outputs: 3, kernel, stride };
            let (image, delta) = (numbers(w.input(), 0.3), numbers(w.output(), 5.0));
            let weights = Tensor::new(vec![3, 2, kernel, kernel], numbers(3 * w.patch(), 2.0));
            let matrix = Ties::Kernel(w).expand(&weights).expect("its kernels");
            assert_eq!(matrix.shape, [w.output(), w.input()]);
            let product: Vec<f64> = matrix.data.chunks(w.input()).map(|row| dot(row, &image)).collect();
            let want = plain(&w, &image, &weights.data);
            assert!(product.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{w:?}");
            let outer = delta.iter().flat_map(|d| image.iter().map(move |x| d * x)).collect();
            let gradient = Ties::Kernel(w).collect(&Tensor::new(vec![w.output(), w.input()], outer)).expect("its matrix");
            assert_eq!(gradient.shape, [3, w.patch()]);
            let want = w.gradient(1, &delta, &image);
            assert!(gradient.data.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{w:?}");
        }
        let bias = Tensor::new(vec![2], vec![1.0, -3.0]);
        let runs = Ties::Runs(3).expand(&bias).expect("a vector");
        assert_eq!(runs, Tensor::new(vec![6], vec![1.0, 1.0, 1.0, -3.0, -3.0, -3.0]));
        assert_eq!(Ties::Runs(3).collect(&runs), Some(Tensor::new(vec![2], vec![3.0, -9.0])));
    }

    #[test]
    fn as_a_product_of_patches_it_is_the_same_and_so_is_its_gradient() {
        for (stride, kernel, height, width) in [(1, 3, 6, 5), (2, 3, 8, 9), (3, 2, 7, 11), (1, 1, 2, 2), (2, 5, 5, 14)] {
            let w = Window { channels: 2, height, width, outputs: 3, kernel, stride };
            let (images, weights) = (numbers(2 * w.input(), 0.3), numbers(3 * w.patch(), 2.0));
            let (places, pitch) = (w.places(), w.pitch());
            let patches = w.patches(2, &images);
            let spaced = w.at_places(&patches, &weights);
            let close = |spaced: &[f64]| spaced.chunks(pitch).flat_map(|run| run[..places].to_vec()).collect::<Vec<f64>>();
            let want = w.forward(2, &images, &weights);
            assert!(close(&spaced).iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{w:?}");
            // The same by the matrix.
            let matrix = Ties::Places(w).expand(&Tensor::new(vec![3, w.patch()], weights.clone())).expect("its kernels");
            let product = |x: &[f64]| matrix.data.chunks(x.len()).map(|row| dot(row, x)).collect::<Vec<f64>>();
            let by_matrix: Vec<f64> = patches.chunks(w.patch() * pitch).flat_map(product).collect();
            assert!(by_matrix.iter().zip(&spaced).all(|(a, b)| (a - b).abs() < 1e-12), "{w:?}");
            let delta = numbers(2 * w.output(), 5.0);
            let gapped: Vec<f64> = delta.chunks(places).flat_map(|run| [run, &vec![0.0; pitch - places]].concat()).collect();
            let (found, want) = (w.gradient_at_places(&gapped, &patches), w.gradient(2, &delta, &images));
            assert!(found.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-11), "{w:?}");
        }
        let pitch = Ties::Pitch { run: 3, pitch: 4 };
        let matrix = Tensor::new(vec![2, 3], (1..7).map(f64::from).collect());
        let spaced = pitch.expand(&matrix).expect("whole runs");
        assert_eq!(spaced, Tensor::new(vec![2, 4], vec![1.0, 2.0, 3.0, 0.0, 4.0, 5.0, 6.0, 0.0]));
        assert_eq!(pitch.collect(&spaced), Some(matrix));
        for (run, pitch) in [(0, 4), (4, 4), (5, 4), (3, usize::MAX)] {
            assert_eq!(Ties::Pitch { run, pitch }.expanded((2, 6), 1 << 10), None);
        }
    }

    #[test]
    fn interleaved_parameters_keep_out_of_each_others_way() {
        let matrix = Tensor::new(vec![2, 2], vec![1.0, 2.0, 3.0, 4.0]);
        let both = |track: usize| Ties::Strided { first: [track; 2], step: [2; 2] };
        let spread = both(1).expand(&matrix).expect("it fits");
        assert_eq!(spread.shape, [4, 4]);
        assert_eq!(spread.data, [0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 3.0, 0.0, 4.0]);
        assert_eq!(both(1).collect(&spread), Some(matrix));
        assert_eq!(both(0).collect(&spread), Some(Tensor::zeros(&[2, 2])));
        let rows = Ties::Strided { first: [0, 0], step: [2, 1] };
        let bias = Tensor::new(vec![2], vec![5.0, 6.0]);
        assert_eq!(rows.expand(&bias), Some(Tensor::new(vec![4], vec![5.0, 0.0, 6.0, 0.0])));
        assert_eq!(rows.collect(&Tensor::new(vec![4], vec![5.0, 7.0, 6.0, 7.0])), Some(bias));
        for (first, step) in [([0, 0], [0, 1]), ([2, 0], [2, 1]), ([0, 1], [1, 1]), ([0, 0], [usize::MAX, 2]), ([0, 0], [64, 64])] {
            assert_eq!(Ties::Strided { first, step }.expanded((2, 6), 1 << 10), None, "{first:?} {step:?}");
        }
        assert_eq!(both(0).collected((3, 4), 1 << 10), None);
        assert_eq!(Ties::Strided { first: [0, 0], step: [0, 2] }.collected((4, 4), 1 << 10), None);
    }

    #[test]
    fn ties_of_other_parameters_fit_nothing() {
        let w = Window { channels: 1, height: 4, width: 4, outputs: 2, kernel: 3, stride: 1 };
        assert_eq!(Ties::Kernel(w).expanded((2, 9), 1 << 10), Some((8, 16)));
        assert_eq!(Ties::Kernel(w).expanded((2, 9), 100), None);
        assert_eq!(Ties::Kernel(w).expanded((2, 8), 1 << 10), None);
        for broken in
            [Window { kernel: 5, ..w }, Window { stride: 0, ..w }, Window { outputs: usize::MAX, ..w }, Window { height: usize::MAX, ..w }]
        {
            assert_eq!(Ties::Kernel(broken).expanded((2, 9), 1 << 10), None, "{broken:?}");
            assert_eq!(Ties::Kernel(broken).collected((8, 16), 1 << 10), None, "{broken:?}");
        }
        for (ties, from) in [(Ties::Runs(0), (4, 1)), (Ties::Runs(3), (4, 1)), (Ties::Runs(2), (4, 2))] {
            assert_eq!(ties.collected(from, 1 << 10), None, "{ties:?}");
        }
        assert_eq!(Ties::Runs(usize::MAX).expanded((2, 1), 1 << 10), None);
    }

    #[test]
    fn is_the_sum_of_its_definition_and_its_adjoints_are_adjoint() {
        for (stride, kernel, height, width) in [(1, 3, 6, 5), (2, 3, 8, 9), (3, 2, 7, 11), (1, 1, 2, 2), (2, 5, 5, 14), (2, 5, 70, 61)] {
            let w = Window { channels: 2, height, width, outputs: 3, kernel, stride };
            let (images, weights) = (numbers(2 * w.input(), 0.3), numbers(3 * w.patch(), 2.0));
            let out = w.forward(2, &images, &weights);
            let want: Vec<f64> = images.chunks(w.input()).flat_map(|image| plain(&w, image, &weights)).collect();
            assert!(out.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-12), "{w:?}");
            // <δ, W x> = <Wᵀ δ, x> = <δ xᵀ, W>.
            let delta = numbers(2 * w.output(), 5.0);
            let inner = dot(&delta, &out);
            assert!((dot(&w.transpose(2, &delta, &weights), &images) - inner).abs() < 1e-10, "{w:?}");
            assert!((dot(&w.gradient(2, &delta, &images), &weights) - inner).abs() < 1e-10, "{w:?}");
        }
    }
}
