//! A room with what stands in it and who looks at it.

use rand::Rng;
use rand::seq::SliceRandom;

use super::colour::{Colour, Material, Pattern, hsv, shade};
use super::furniture::{Kind, Piece};

/// A point or a direction: x to the right, y up, z away from the camera's wall.
pub type Vector = [f64; 3];

/// A box along the axes.
#[derive(Clone, Copy, Debug)]
pub struct Block {
    /// Its least corner.
    pub low: Vector,
    /// Its largest corner.
    pub high: Vector,
    /// Its surface.
    pub material: Material,
}

/// A camera.
#[derive(Clone, Copy, Debug)]
pub struct Camera {
    /// Where it stands.
    pub place: Vector,
    /// Its directions: right, up, forward.
    pub axes: [Vector; 3],
    /// Half the width of what it sees at distance 1.
    pub half: f64,
}

/// A place that light comes from.
#[derive(Clone, Copy, Debug)]
pub struct Light {
    /// Where.
    pub place: Vector,
    /// How bright, in each colour, at distance 1.
    pub colour: Colour,
}

/// A whole scene.
#[derive(Clone, Debug)]
pub struct Scene {
    /// The room from 0 to here.
    pub size: Vector,
    /// Floor.
    pub floor: Material,
    /// Ceiling.
    pub ceiling: Material,
    /// Walls: left, right, far; the near one is behind the camera.
    pub walls: [Material; 3],
    /// Everything else.
    pub blocks: Vec<Block>,
    /// The blocks from here on are the object.
    pub object: usize,
    /// Lights.
    pub lights: Vec<Light>,
    /// Light from everywhere.
    pub ambient: Colour,
    /// Who looks.
    pub camera: Camera,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wall {
    Left,
    Right,
    Far,
}

impl Scene {
    /// Draws one.
    pub fn random(rng: &mut impl Rng) -> Self {
        let size = [rng.random_range(3.6..5.4), rng.random_range(2.4..2.9), rng.random_range(4.2..6.4)];
        let hue: f64 = rng.random();
        let pale = hsv(hue, rng.random_range(0.08..0.4), rng.random_range(0.72..0.95));
        let accent = if rng.random_bool(0.4) { hsv(hue + rng.random_range(0.3..0.6), 0.35, 0.75) } else { pale };
        let mut scene = Self {
            size,
            floor: floor(rng),
            ceiling: Material::plain([0.93, 0.92, 0.9]),
            walls: [Material::plain(pale), Material::plain(pale), Material::plain(accent)],
            blocks: Vec::new(),
            object: 0,
            lights: Vec::new(),
            ambient: [0.43, 0.43, 0.45],
            camera: camera(rng, size),
        };
        if rng.random_bool(0.25) {
            scene.walls[2] = Material::patterned(accent, shade(accent, 0.88), Pattern::Stripes(rng.random_range(0.15..0.35)));
        }
        scene.skirting();
        scene.window(rng);
        scene.rug(rng);
        scene.furnish(rng);
        scene.lights.push(Light { place: [0.5 * size[0], size[1] - 0.35, 0.45 * size[2]], colour: [1.02, 0.97, 0.88] });
        scene.put_object(rng, hue);
        scene
    }

    fn add(&mut self, low: Vector, high: Vector, material: Material) {
        self.blocks.push(Block { low, high, material });
    }

    fn skirting(&mut self) {
        let ([w, _, d], white, t) = (self.size, Material::plain([0.85, 0.84, 0.82]), 0.02);
        self.add([0.0, 0.0, d - t], [w, 0.09, d], white);
        self.add([0.0, 0.0, 0.0], [t, 0.09, d], white);
        self.add([w - t, 0.0, 0.0], [w, 0.09, d], white);
    }

    /// A block on a wall: `along` it (from its middle), `up`, and so far `out` of it.
    fn on_wall(&mut self, wall: Wall, middle: f64, along: [f64; 2], up: [f64; 2], out: [f64; 2], material: Material) {
        let local = Block { low: [along[0], up[0], out[0]], high: [along[1], up[1], out[1]], material };
        let block = self.against(wall, middle, local);
        self.blocks.push(block);
    }

    /// A piece's block in the room.
    fn against(&self, wall: Wall, middle: f64, block: Block) -> Block {
        let place = |[x, y, z]: Vector| match wall {
            Wall::Left => [z, y, middle + x],
            Wall::Right => [self.size[0] - z, y, middle - x],
            Wall::Far => [middle + x, y, self.size[2] - z],
        };
        let (a, b) = (place(block.low), place(block.high));
        Block { low: std::array::from_fn(|i| a[i].min(b[i])), high: std::array::from_fn(|i| a[i].max(b[i])), material: block.material }
    }

    /// A window with its frame, and the light that falls in.
    fn window(&mut self, rng: &mut impl Rng) {
        let wall = [Wall::Left, Wall::Right, Wall::Far][rng.random_range(0..3)];
        let [w, _, d] = self.size;
        let middle = if wall == Wall::Far { w * rng.random_range(0.3..0.7) } else { d * rng.random_range(0.45..0.7) };
        let (half, low, high): (f64, f64, f64) = (rng.random_range(0.45..0.9), rng.random_range(0.8..1.05), rng.random_range(1.95..2.2));
        let sky = hsv(rng.random_range(0.54..0.6), rng.random_range(0.15..0.45), 1.0);
        let ground = hsv(rng.random_range(0.22..0.36), rng.random_range(0.2..0.5), rng.random_range(0.55..0.8));
        let horizon = low + (high - low) * rng.random_range(0.2..0.45);
        self.on_wall(wall, middle, [-half, half], [horizon, high], [0.0, 0.01], Material::glowing(sky));
        self.on_wall(wall, middle, [-half, half], [low, horizon], [0.0, 0.01], Material::glowing(ground));
        let (white, t) = (Material::plain([0.95, 0.95, 0.94]), 0.06);
        for x in [-half - t, -t / 2.0, half] {
            self.on_wall(wall, middle, [x, x + t], [low, high], [0.0, 0.05], white);
        }
        self.on_wall(wall, middle, [-half - t, half + t], [high, high + t], [0.0, 0.05], white);
        self.on_wall(wall, middle, [-half - 0.1, half + 0.1], [low - 0.05, low], [0.0, 0.15], white);
        if rng.random_bool(0.5) {
            let curtain = hsv(rng.random(), rng.random_range(0.15..0.5), rng.random_range(0.6..0.9));
            let cloth = Material::patterned(curtain, shade(curtain, 0.9), Pattern::Stripes(0.06));
            for x in [-half - 0.32, half + 0.02] {
                self.on_wall(wall, middle, [x, x + 0.3], [0.3, high + 0.15], [0.05, 0.11], cloth);
            }
        }
        let bright = rng.random_range(0.35..0.6);
        for along in [-0.5 * half, 0.5 * half] {
            for up in [low + 0.3 * (high - low), low + 0.7 * (high - low)] {
                let spot = Block { low: [along, up, 0.3], high: [along, up, 0.3], material: self.floor };
                let place = self.against(wall, middle, spot).low;
                self.lights.push(Light { place, colour: [0.95 * bright, bright, 1.05 * bright] });
            }
        }
        self.wall_art(rng, wall);
    }

    /// A picture on a wall that has no window.
    fn wall_art(&mut self, rng: &mut impl Rng, window: Wall) {
        let free: Vec<Wall> = [Wall::Far, Wall::Left, Wall::Right].into_iter().filter(|wall| *wall != window).collect();
        let wall = free[rng.random_range(0..free.len())];
        let length = if wall == Wall::Far { self.size[0] } else { self.size[2] };
        let (middle, half, low) = (length * rng.random_range(0.4..0.65), rng.random_range(0.2..0.5), rng.random_range(1.2..1.45));
        let high = low + rng.random_range(0.35..0.7);
        let canvas = hsv(rng.random(), rng.random_range(0.3..0.7), rng.random_range(0.5..0.9));
        let shape = hsv(rng.random(), rng.random_range(0.4..0.8), rng.random_range(0.4..0.95));
        self.on_wall(wall, middle, [-half, half], [low, high], [0.0, 0.03], Material::plain(shade(canvas, 0.35)));
        self.on_wall(wall, middle, [-half + 0.04, half - 0.04], [low + 0.04, high - 0.04], [0.03, 0.035], Material::plain(canvas));
        let (across, up) = (half * rng.random_range(0.2..0.6), low + 0.1 + 0.3 * (high - low));
        self.on_wall(wall, middle, [-across, half * 0.4], [low + 0.1, up], [0.035, 0.04], Material::plain(shape));
    }

    fn rug(&mut self, rng: &mut impl Rng) {
        if rng.random_bool(0.35) {
            return;
        }
        let [w, _, d] = self.size;
        let (x, z) = (w * rng.random_range(0.42..0.58), d * rng.random_range(0.45..0.6));
        let (across, deep) = (rng.random_range(0.7..1.2), rng.random_range(0.6..1.1));
        let colour = hsv(rng.random(), rng.random_range(0.2..0.6), rng.random_range(0.4..0.8));
        let other = hsv(rng.random(), rng.random_range(0.1..0.4), rng.random_range(0.6..0.9));
        let (low, high) = ([x - across, z - deep], [x + across, z + deep]);
        let border = Pattern::Border(rng.random_range(0.1..0.22), low, high);
        self.add([low[0], 0.0, low[1]], [high[0], 0.012, high[1]], Material::patterned(colour, other, border));
    }

    /// Furniture along the far wall and the sides, each kind at most once.
    fn furnish(&mut self, rng: &mut impl Rng) {
        let mut kinds = Kind::ALL.to_vec();
        kinds.shuffle(rng);
        let [w, _, d] = self.size;
        // From where to where a wall is free; the corners at the far wall belong to that.
        let mut spans = [(Wall::Far, 0.1, w - 0.1), (Wall::Left, 0.42 * d, d - 1.3), (Wall::Right, 0.42 * d, d - 1.3)];
        let count = rng.random_range(4..=6);
        for kind in kinds.into_iter().take(count) {
            let Piece { width, blocks } = kind.build(rng);
            let fits: Vec<usize> = (0..spans.len()).filter(|&i| spans[i].2 - spans[i].1 >= width).collect();
            // A bed reaches far into the room: it stands at the far wall or not at all.
            let fits: Vec<usize> = fits.into_iter().filter(|&i| kind != Kind::Bed || spans[i].0 == Wall::Far).collect();
            let Some(&at) = fits.get(rng.random_range(0..fits.len().max(1))) else { continue };
            let (wall, from, to) = spans[at];
            let slack = (to - from - width) * rng.random_range(0.0..0.4);
            let middle = from + slack + width / 2.0;
            spans[at].1 = middle + width / 2.0 + 0.1;
            for block in blocks {
                let placed = self.against(wall, middle, block);
                self.blocks.push(placed);
            }
        }
    }

    /// The object: a parcel of a bright colour with a band about it, on the floor where the camera sees it.
    fn put_object(&mut self, rng: &mut impl Rng, hue: f64) {
        self.object = self.blocks.len();
        let [w, _, d] = self.size;
        let (x, z) = (w * rng.random_range(0.28..0.72), d * rng.random_range(0.36..0.62));
        let (a, b, h) = (rng.random_range(0.17..0.34), rng.random_range(0.15..0.3), rng.random_range(0.3..0.75));
        let colour = hsv(hue + rng.random_range(0.25..0.75), rng.random_range(0.7..0.95), rng.random_range(0.75..0.98));
        let band = Material::plain(hsv(hue + rng.random_range(0.0..0.2), 0.25, 0.95));
        self.add([x - a, 0.0, z - b], [x + a, h, z + b], Material::plain(colour));
        let (wide, over) = (0.2 * a, 0.008);
        self.add([x - wide, 0.0, z - b - over], [x + wide, h + over, z + b + over], band);
        self.add([x - a - over, 0.0, z - wide], [x + a + over, h + over, z + wide], band);
    }
}

fn floor(rng: &mut impl Rng) -> Material {
    match rng.random_range(0..4) {
        0 => {
            let colour = hsv(rng.random(), rng.random_range(0.03..0.2), rng.random_range(0.5..0.85));
            Material::patterned(colour, shade(colour, 0.7), Pattern::Tiles(rng.random_range(0.4..0.7)))
        }
        1 => Material::plain(hsv(rng.random(), rng.random_range(0.15..0.4), rng.random_range(0.4..0.75))),
        _ => {
            let colour = hsv(rng.random_range(0.06..0.1), rng.random_range(0.3..0.6), rng.random_range(0.4..0.8));
            Material::patterned(colour, shade(colour, 0.72), Pattern::Planks(rng.random_range(0.14..0.3)))
        }
    }
}

fn camera(rng: &mut impl Rng, size: Vector) -> Camera {
    let place = [size[0] * rng.random_range(0.3..0.7), rng.random_range(1.25..1.7), rng.random_range(0.15..0.5)];
    // Who stands at the left looks to the right.
    let turned = 0.5 * (0.5 - place[0] / size[0]) + rng.random_range(-0.18..0.18);
    let down: f64 = rng.random_range(0.12..0.26);
    let ((sy, cy), (sp, cp)) = ((libm::sin(turned), libm::cos(turned)), (libm::sin(down), libm::cos(down)));
    let axes = [[cy, 0.0, -sy], [sy * sp, cp, cy * sp], [sy * cp, -sp, cy * cp]];
    Camera { place, axes, half: rng.random_range(0.78..1.0) }
}
