//! Rooms as the observations of a program: pictures go to images by their number of planes, the place of the object to the first
//! vector of four.

use hecc_compiler::inspection::Inspection;
use hecc_plan::{ObservationSpec, Tensor, Tensors};
use hecc_runtime::env::Action;
use hecc_runtime::session::random::{Purpose, stream, uniform};

use crate::rooms::{Room, RoomError};
use crate::samples;

/// What an observation shows of a room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shows {
    /// Colour.
    Colour,
    /// Depth.
    Depth,
    /// Colour, then depth.
    Both,
    /// Where the object is.
    Object,
    /// Nothing of it: chance.
    Chance,
}

/// What each observation of a program shows; `None` for a program without images of one, three or four planes.
pub fn shows(observations: &[ObservationSpec]) -> Option<Vec<Shows>> {
    let mut placed = false;
    let of = |o: &ObservationSpec| match o.shape[..] {
        [1, ..] if o.shape.len() == 3 => Some(Shows::Depth),
        [3, _, _] => Some(Shows::Colour),
        [4, _, _] => Some(Shows::Both),
        [_, _, _] => None,
        [4] if !std::mem::replace(&mut placed, true) => Some(Shows::Object),
        _ => Some(Shows::Chance),
    };
    let all: Vec<Shows> = observations.iter().map(of).collect::<Option<_>>()?;
    all.iter().any(|shows| matches!(shows, Shows::Colour | Shows::Depth | Shows::Both)).then_some(all)
}

/// `count` transitions between rooms, each of which shows one: actions, rewards and ends are chance. `None` where the program
/// has no images that could show a room.
///
/// # Errors
/// If images have sides that no room has.
pub fn gather(of: &Inspection, count: usize, seed: u64) -> Option<Result<Tensors, RoomError>> {
    let spec = &of.training.env;
    let shows = shows(&spec.observations)?;
    let mut draws = stream(seed, Purpose::Actions);
    let mut arrays = Tensors::new();
    for (observation, shows) in spec.observations.iter().zip(&shows) {
        // The next observation is of the room after it.
        let mut rows = Vec::with_capacity(count + 1);
        for index in 0..=count as u64 {
            let sides = match observation.shape[..] {
                [_, height, width] => (height, width),
                _ => (*crate::rooms::SIDES.start(), *crate::rooms::SIDES.start()),
            };
            let room = match Room::draw(seed, index, sides.0, sides.1) {
                Ok(room) => room,
                Err(error) => return Some(Err(error)),
            };
            let parts = match shows {
                Shows::Colour => room.rgb,
                Shows::Depth => room.depth,
                Shows::Both => [room.rgb, room.depth].concat(),
                Shows::Object => room.object.to_vec(),
                Shows::Chance => observation.ranges.iter().map(|_| uniform(&mut draws)).collect(),
            };
            let scaled = |(part, [low, high]): (&f64, &[f64; 2])| low + part * (high - low);
            rows.push(parts.iter().zip(&observation.ranges).map(scaled).collect::<Vec<f64>>());
        }
        let shape = [&[count], observation.shape.as_slice()].concat();
        arrays.insert(observation.name.clone(), Tensor::new(shape.clone(), rows[..count].concat()));
        arrays.insert(format!("{}_next", observation.name), Tensor::new(shape, rows[1..].concat()));
    }
    let (name, kind) = &spec.action;
    let actions: Vec<f64> = (0..count).flat_map(|_| Action::random(kind, &mut draws).encode(kind)).collect();
    arrays.insert(name.clone(), Tensor::new(vec![count, actions.len() / count.max(1)], actions));
    let range = of.program.env.reward_range;
    let rewards = (0..count).map(|_| range.low + (range.high - range.low) * uniform(&mut draws)).collect();
    arrays.insert(spec.reward.0.clone(), Tensor::new(vec![count], rewards));
    arrays.insert("done".to_owned(), Tensor::zeros(&[count]));
    samples::add_noise(of, &mut arrays, count, seed);
    Some(Ok(arrays))
}

/// An observation of the body, in [-1, 1], as values of pictures and boxes, in [0, 1].
pub fn seen(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| ((v + 1.0) / 2.0).clamp(0.0, 1.0)).collect()
}
