//! Synthetic rooms: what an indoor robot would see, drawn from a seed, for attacks on observations of pictures.
//!
//! A room is a box with a floor, walls, a window and furniture made of boxes, seen through a pinhole camera. Colour and depth come
//! from the same rays. The arithmetic is IEEE's and libm's, so that a seed draws the same room on every machine.

mod colour;
mod furniture;
mod render;
mod scene;

use rand::SeedableRng;
use rand_chacha::ChaCha20Rng;

use crate::report::{Picture, PictureError, View};

/// Rooms of other sides are refused: smaller ones show nothing, larger ones take long.
pub const SIDES: std::ops::RangeInclusive<usize> = 8..=512;
/// The distance in metres that depth 1 stands for.
pub const FAR: f64 = 7.0;
/// Rooms that are tried until one shows its object.
const TRIES: usize = 64;
/// The side of the small picture on which that is decided.
const PROBE: usize = 48;

/// Why no room was drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a room has {} to {} rows and columns, not {height} by {width}", SIDES.start(), SIDES.end())]
pub struct RoomError {
    /// The rows that were asked for.
    pub height: usize,
    /// The columns that were asked for.
    pub width: usize,
}

/// What is seen of a room. All values are in [0, 1].
#[derive(Clone, Debug, PartialEq)]
pub struct Room {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// Its red, green and blue planes, one after the other, each row by row.
    pub rgb: Vec<f64>,
    /// Its distance from the camera's plane, in parts of [`FAR`], row by row.
    pub depth: Vec<f64>,
    /// Where the object stands in the picture: left, top, right and bottom, in parts of its sides.
    pub object: [f64; 4],
}

impl Room {
    /// The room of a seed with an index: equal ones give equal rooms, of any size the same scene.
    ///
    /// # Errors
    /// If the sides are not in [`SIDES`].
    pub fn draw(seed: u64, index: u64, height: usize, width: usize) -> Result<Self, RoomError> {
        if !SIDES.contains(&height) || !SIDES.contains(&width) {
            return Err(RoomError { height, width });
        }
        let mut rng = ChaCha20Rng::seed_from_u64(seed);
        rng.set_stream(index);
        let mut scene = scene::Scene::random(&mut rng);
        for _ in 1..TRIES {
            if render::shows_object(&scene, PROBE) {
                break;
            }
            scene = scene::Scene::random(&mut rng);
        }
        let (rgb, depth) = render::picture(&scene, height, width);
        Ok(Self { height, width, rgb, depth, object: render::object(&scene) })
    }

    /// The rooms of a seed with the indices from 0 on.
    ///
    /// # Errors
    /// If the sides are not in [`SIDES`].
    pub fn several(seed: u64, count: usize, height: usize, width: usize) -> Result<Vec<Self>, RoomError> {
        (0..count as u64).map(|index| Self::draw(seed, index, height, width)).collect()
    }

    /// The room as a report shows it.
    ///
    /// # Errors
    /// If the values do not fit the sides.
    pub fn view(&self) -> Result<View, PictureError> {
        let rgb = Picture::of_planes(&self.rgb, 3, self.height, self.width)?;
        let depth = Picture::of_planes(&self.depth, 1, self.height, self.width)?;
        Ok(View { pictures: vec![rgb, depth], frame: Some(self.object), ..View::default() })
    }
}
