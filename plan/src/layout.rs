//! Where the numbers of a tensor stand among the slots of a ciphertext.
//!
//! Slots form a grid of `width` neurons by `lanes` samples, `slot(i, b) = i * lanes + b`: the neuron axis is outermost
//! and `width * lanes` is exactly the number of slots, so that a rotation by `r * lanes` is a cyclic shift of the neuron
//! axis in every lane and no mask is needed. A vector of length d is padded to the next power of two, its *period*, and
//! repeated along the neuron axis.
//!
//! In *tiles* ([`Layout::Tiled`]) it is the other way round: every sample has `width` neighbouring slots, its tile, and all
//! parameters stand side by side in each. Sums over samples are then cyclic, and one product multiplies a whole layer.

use serde::{Deserialize, Serialize};

use crate::Tensor;

/// The slot grid of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Geometry {
    /// Neurons: a power of two, at least the largest period. In tiles: the slots of a sample.
    pub width: usize,
    /// Samples per ciphertext: a power of two.
    pub lanes: usize,
    /// Samples per update; they fill `groups` ciphertexts.
    pub batch: usize,
}

impl Geometry {
    /// Slots of a ciphertext.
    pub fn slots(&self) -> usize {
        self.width * self.lanes
    }

    /// Ciphertexts that hold one per-sample value of the whole batch.
    pub fn groups(&self) -> usize {
        self.batch.div_ceil(self.lanes)
    }
}

/// Which lanes a weight stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Lanes {
    /// Every lane holds a copy: the form products need.
    All,
    /// One lane: the form states rest in.
    One(usize),
}

impl Lanes {
    fn range(self, lanes: usize) -> std::ops::Range<usize> {
        match self {
            Lanes::All => 0..lanes,
            Lanes::One(lane) => lane..lane + 1,
        }
    }
}

/// Elements of a tensor's axis in runs, one pitch apart: element e stands at `e / run * pitch + e % run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// Elements side by side, at least one.
    pub run: usize,
    /// From the first of a run to the first of the next, at least the run.
    pub pitch: usize,
}

impl Runs {
    /// No gaps.
    pub const DENSE: Self = Self { run: 1, pitch: 1 };

    /// Single elements, one pitch apart.
    pub fn apart(pitch: usize) -> Self {
        Self { run: 1, pitch }
    }

    /// The element that stands there; `None` in a gap.
    fn element(self, at: usize) -> Option<usize> {
        (at % self.pitch < self.run).then(|| at / self.pitch * self.run + at % self.pitch)
    }

    pub(crate) fn is_dense(&self) -> bool {
        self.run == self.pitch
    }
}

impl Default for Runs {
    fn default() -> Self {
        Self::DENSE
    }
}

fn are_dense(runs: &[Runs; 2]) -> bool {
    runs.iter().all(Runs::is_dense)
}

/// How a tensor is laid out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// Per-sample values `[B, d]`: `slot(i, b) = v[group * lanes + b, i mod period]`, zero for padding.
    Samples {
        /// Which ciphertext of the batch.
        group: usize,
        /// The padded length of a sample's vector.
        period: usize,
    },
    /// One diagonal of a matrix `[out, in]`: `slot(i, ·) = W[r((i - shift) mod rows), c((i - shift + diagonal) mod cols)]`, where r and c
    /// find rows and columns among `runs`, and gaps are zero.
    Diagonal {
        /// Which diagonal, below `min(rows, cols)`.
        diagonal: usize,
        /// Rotation that the giant step will undo.
        shift: usize,
        /// Padded number of rows.
        rows: usize,
        /// Padded number of columns.
        cols: usize,
        /// In which lanes.
        lanes: Lanes,
        /// The places of W's own rows and columns among those, where there are gaps.
        #[serde(default, skip_serializing_if = "are_dense")]
        runs: [Runs; 2],
    },
    /// A vector: `slot(i, ·) = v[r(i mod period)]`, where r finds elements among `runs`, and gaps are zero.
    Vector {
        /// Its padded length.
        period: usize,
        /// In which lanes.
        lanes: Lanes,
        /// The places of its own elements among those, where there are gaps.
        #[serde(default, skip_serializing_if = "Runs::is_dense")]
        runs: Runs,
    },
    /// Elements at equal distances in the tiles of the samples.
    Tiled(Tiled),
}

/// Where elements stand in a tile: element `[o, i]` of a matrix at `start + o strides[0] + i strides[1]`, element e of a
/// vector at `start + (e - first) strides[0]`, and copies of all that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tiled {
    /// Per-sample values `[B, d]`, of that ciphertext of the batch: tile b is sample `group * lanes + b`. Otherwise a
    /// parameter, in every tile alike.
    pub group: Option<usize>,
    /// Slot of the first element.
    pub start: usize,
    /// First element, and how many, along the first axis.
    pub elements: (usize, usize),
    /// Slots from element to element, along each axis.
    pub strides: [usize; 2],
    /// Copies, and slots from one to the next, twice nested.
    pub copies: [(usize, usize); 2],
}

impl Tiled {
    /// The last slot in use, for a tensor with so many elements along its second axis; `None` if that is beyond counting.
    pub fn last(&self, inputs: usize) -> Option<usize> {
        let reach = |count: usize, stride: usize| count.checked_sub(1)?.checked_mul(stride);
        let [(copies, apart), (more, further)] = self.copies;
        let parts = [
            reach(self.elements.1, self.strides[0])?,
            reach(inputs.max(1), self.strides[1])?,
            reach(copies, apart)?,
            reach(more, further)?,
        ];
        parts.into_iter().try_fold(self.start, usize::checked_add)
    }

    fn visit(&self, geometry: &Geometry, shape: &[usize], length: usize, mut visit: impl FnMut(usize, usize)) {
        let (rows, inputs) = match (self.group, shape) {
            (Some(_), shape) => (shape.first().copied().unwrap_or(1), 1),
            (None, &[_, inputs]) => (1, inputs),
            (None, _) => (1, 1),
        };
        // Elements along the first axis.
        let count = length.checked_div(rows * inputs).unwrap_or(0);
        let [(copies, apart), (more, further)] = self.copies;
        for tile in 0..geometry.lanes {
            let sample = self.group.map_or(0, |group| group * geometry.lanes + tile);
            if sample >= rows {
                break;
            }
            for e in self.elements.0..(self.elements.0 + self.elements.1).min(count) {
                for i in 0..inputs {
                    let first = tile * geometry.width + self.start + (e - self.elements.0) * self.strides[0] + i * self.strides[1];
                    for copy in 0..copies {
                        for other in 0..more {
                            visit(first + copy * apart + other * further, (sample * count + e) * inputs + i);
                        }
                    }
                }
            }
        }
    }
}

impl Layout {
    /// Adds `factor` times the laid-out `value` onto `slots`. Elements outside the tensor are zero.
    pub fn pack(&self, geometry: &Geometry, value: &Tensor, factor: f64, slots: &mut [f64]) {
        self.visit_shape(geometry, value, value.data.len(), |slot, index| slots[slot] += factor * value.data[index]);
    }

    /// Reads the tensor back out of `slots`, into the elements this layout covers; the inverse of [`Self::pack`].
    pub fn unpack(&self, geometry: &Geometry, slots: &[f64], factor: f64, value: &mut Tensor) {
        let shape = Tensor { shape: value.shape.clone(), data: Vec::new() };
        let length = value.data.len();
        let mut seen = vec![false; length];
        let data = &mut value.data;
        self.visit_shape(geometry, &shape, length, |slot, index| {
            if !seen[index] {
                seen[index] = true;
                data[index] = factor * slots[slot];
            }
        });
    }

    fn visit_shape(&self, geometry: &Geometry, value: &Tensor, length: usize, mut visit: impl FnMut(usize, usize)) {
        let across = geometry.lanes;
        match *self {
            Layout::Tiled(tiled) => tiled.visit(geometry, &value.shape, length, visit),
            Layout::Samples { group, period } => {
                let rows = value.shape.first().copied().unwrap_or(1);
                let dim = length.checked_div(rows).unwrap_or(0);
                for b in 0..geometry.lanes {
                    let sample = group * geometry.lanes + b;
                    if sample >= rows {
                        break;
                    }
                    for i in 0..geometry.width {
                        let j = i % period;
                        if j < dim {
                            visit(i * across + b, sample * dim + j);
                        }
                    }
                }
            }
            Layout::Diagonal { diagonal, shift, rows, cols, lanes, runs: [of_rows, of_cols] } => {
                // Kernels have several axes of inputs.
                let out = if value.shape.len() > 1 { value.shape[0] } else { 1 };
                let inputs = length.checked_div(out).unwrap_or(0);
                for i in 0..geometry.width {
                    let at = (i + geometry.width - shift % geometry.width) % geometry.width;
                    let place = of_rows.element(at % rows).zip(of_cols.element((at + diagonal) % cols));
                    let Some((row, col)) = place else { continue };
                    if row < out && col < inputs {
                        for b in lanes.range(geometry.lanes) {
                            visit(i * across + b, row * inputs + col);
                        }
                    }
                }
            }
            Layout::Vector { period, lanes, runs } => {
                for i in 0..geometry.width {
                    let Some(j) = runs.element(i % period) else { continue };
                    if j < length {
                        for b in lanes.range(geometry.lanes) {
                            visit(i * across + b, j);
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GRID: Geometry = Geometry { width: 16, lanes: 4, batch: 6 };

    fn counted(shape: &[usize]) -> Tensor {
        Tensor { shape: shape.to_vec(), data: (1..=shape.iter().product()).map(|i| i as f64).collect() }
    }

    fn there_and_back(layout: Layout, value: &Tensor) -> (Vec<f64>, Tensor) {
        let mut slots = vec![0.0; GRID.slots()];
        layout.pack(&GRID, value, 2.0, &mut slots);
        let mut back = Tensor::zeros(&value.shape);
        layout.unpack(&GRID, &slots, 0.5, &mut back);
        (slots, back)
    }

    #[test]
    fn a_matrix_in_every_tile() {
        let tiled = Tiled { group: None, start: 1, elements: (0, 3), strides: [4, 1], copies: [(1, 0); 2] };
        let value = counted(&[3, 2]);
        let (slots, back) = there_and_back(Layout::Tiled(tiled), &value);
        assert_eq!(back, value);
        for tile in slots.chunks(GRID.width) {
            assert_eq!(tile[..12], [0.0, 2.0, 4.0, 0.0, 0.0, 6.0, 8.0, 0.0, 0.0, 10.0, 12.0, 0.0]);
        }
        assert_eq!((tiled.last(2), tiled.last(5)), (Some(10), Some(13)));
        assert_eq!(Tiled { strides: [usize::MAX, 1], ..tiled }.last(2), None);
    }

    #[test]
    fn a_matrix_with_gaps() {
        // Columns in runs of three, four apart: column 2 is the last of its run, column 3 the first of the next.
        let runs = [Runs::DENSE, Runs { run: 3, pitch: 4 }];
        let value = counted(&[4, 6]);
        let mut back = Tensor::zeros(&[4, 6]);
        for diagonal in 0..4 {
            let layout = Layout::Diagonal { diagonal, shift: 1, rows: 4, cols: 8, lanes: Lanes::One(2), runs };
            let (slots, _) = there_and_back(layout, &value);
            for i in 0..GRID.width {
                let at = (i + 15) % 16;
                let (row, place) = (at % 4, (at + diagonal) % 8);
                let element = [Some(0), Some(1), Some(2), None, Some(3), Some(4), Some(5), None][place];
                assert_eq!(slots[4 * i + 2], element.map_or(0.0, |col| 2.0 * value.data[6 * row + col]));
            }
            layout.unpack(&GRID, &slots, 0.5, &mut back);
        }
        assert_eq!(back, value);
    }

    #[test]
    fn a_vector_whose_elements_stand_apart() {
        let layout = Layout::Vector { period: 8, lanes: Lanes::All, runs: Runs::apart(4) };
        let (slots, back) = there_and_back(layout, &counted(&[2]));
        assert_eq!(back, counted(&[2]));
        assert_eq!(slots.chunks(4).map(|lanes| lanes[3]).collect::<Vec<_>>()[..8], [2.0, 0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn some_elements_of_every_sample_with_copies() {
        let tiled = Tiled { group: Some(1), start: 2, elements: (1, 2), strides: [1, 0], copies: [(2, 4), (1, 0)] };
        let (slots, back) = there_and_back(Layout::Tiled(tiled), &counted(&[6, 3]));
        // The second ciphertext has samples 4 and 5 alone.
        assert_eq!(slots[..16], [0.0, 0.0, 28.0, 30.0, 0.0, 0.0, 28.0, 30.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!(slots[16..].contains(&36.0) && slots[32..].iter().all(|slot| *slot == 0.0));
        assert_eq!(back.data[12..], [0.0, 14.0, 15.0, 0.0, 17.0, 18.0]);
    }
}
