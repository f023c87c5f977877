//! Rays through a scene.

use super::FAR;
use super::colour::{Colour, Material};
use super::scene::{Block, Camera, Scene, Vector};

/// Pictures are sampled at least so many times across.
const ACROSS: usize = 128;
/// The part of an object that must be seen.
const SEEN: f64 = 0.7;
/// Off a surface, so that a ray does not meet it again.
const OFF: f64 = 1e-6;

struct Hit {
    far: f64,
    normal: Vector,
    material: Material,
    /// Which block; none for walls.
    block: Option<usize>,
}

/// Colour planes and the depth plane.
pub fn picture(scene: &Scene, height: usize, width: usize) -> (Vec<f64>, Vec<f64>) {
    let size = height * width;
    let (mut rgb, mut depth) = (vec![0.0; 3 * size], vec![0.0; size]);
    let fine = ACROSS.div_ceil(height.min(width)).max(2);
    let share = 1.0 / (fine * fine) as f64;
    for row in 0..height {
        for column in 0..width {
            let at = row * width + column;
            for part in 0..fine * fine {
                let x = (column as f64 + ((part % fine) as f64 + 0.5) / fine as f64) / width as f64;
                let y = (row as f64 + ((part / fine) as f64 + 0.5) / fine as f64) / height as f64;
                let ray = direction(&scene.camera, x, y);
                let hit = cast(scene, scene.camera.place, ray);
                let colour = shaded(scene, ray, &hit);
                colour.iter().enumerate().for_each(|(plane, c)| rgb[plane * size + at] += share * c.clamp(0.0, 1.0));
                // The ray is 1 long along the camera's forward axis.
                depth[at] += share * (hit.far / FAR).clamp(0.0, 1.0);
            }
        }
    }
    // Shares of many samples may add up to a rounding error above 1.
    rgb.iter_mut().chain(&mut depth).for_each(|v| *v = v.min(1.0));
    (rgb, depth)
}

/// Where the object stands, by its corners: left, top, right, bottom, clipped to the picture.
pub fn object(scene: &Scene) -> [f64; 4] {
    let mut frame = [1.0_f64, 1.0, 0.0, 0.0];
    for block in &scene.blocks[scene.object..] {
        for corner in 0..8 {
            let point: Vector = std::array::from_fn(|i| if corner >> i & 1 == 0 { block.low[i] } else { block.high[i] });
            if let Some((x, y)) = project(&scene.camera, point) {
                frame = [frame[0].min(x), frame[1].min(y), frame[2].max(x), frame[3].max(y)];
            }
        }
    }
    frame.map(|v| v.clamp(0.0, 1.0))
}

/// Whether the object is inside the picture, not too small, and not behind something else.
pub fn shows_object(scene: &Scene, side: usize) -> bool {
    let frame = object(scene);
    let inside = frame[0] > 0.02 && frame[1] > 0.02 && frame[2] < 0.98 && frame[3] < 0.98;
    if !inside || (frame[2] - frame[0]) < 0.1 || (frame[3] - frame[1]) < 0.1 {
        return false;
    }
    let (mut seen, mut meant) = (0.0, 0.0);
    for row in 0..side {
        for column in 0..side {
            let ray = direction(&scene.camera, (column as f64 + 0.5) / side as f64, (row as f64 + 0.5) / side as f64);
            let alone = scene.blocks[scene.object..].iter().any(|block| enter(block, scene.camera.place, ray).is_some());
            meant += f64::from(u8::from(alone));
            let hit = alone.then(|| cast(scene, scene.camera.place, ray));
            seen += f64::from(u8::from(hit.and_then(|hit| hit.block).is_some_and(|block| block >= scene.object)));
        }
    }
    meant > 0.0 && seen >= SEEN * meant
}

/// The direction through a point of the picture; both coordinates in [0, 1], y downwards. Pictures are stretched to their sides.
fn direction(camera: &Camera, x: f64, y: f64) -> Vector {
    let (right, up) = (camera.half * (2.0 * x - 1.0), camera.half * (1.0 - 2.0 * y));
    let [r, u, f] = camera.axes;
    std::array::from_fn(|i| right * r[i] + up * u[i] + f[i])
}

fn project(camera: &Camera, point: Vector) -> Option<(f64, f64)> {
    let to = minus(point, camera.place);
    let [right, up, forward] = camera.axes.map(|axis| dot(axis, to));
    (forward > OFF).then(|| (0.5 + 0.5 * right / (camera.half * forward), 0.5 - 0.5 * up / (camera.half * forward)))
}

/// Where a ray enters a box: how far along it, and through the side across which axis.
fn enter(block: &Block, from: Vector, ray: Vector) -> Option<(f64, usize)> {
    let (mut near, mut far, mut side) = (OFF, f64::INFINITY, None);
    for axis in 0..3 {
        if ray[axis] == 0.0 {
            if from[axis] < block.low[axis] || from[axis] > block.high[axis] {
                return None;
            }
            continue;
        }
        let (a, b) = ((block.low[axis] - from[axis]) / ray[axis], (block.high[axis] - from[axis]) / ray[axis]);
        if a.min(b) > near {
            (near, side) = (a.min(b), Some(axis));
        }
        far = far.min(a.max(b));
    }
    side.filter(|_| near < far).map(|axis| (near, axis))
}

/// What a ray from inside the room meets first.
fn cast(scene: &Scene, from: Vector, ray: Vector) -> Hit {
    let mut hit = wall(scene, from, ray);
    for (index, block) in scene.blocks.iter().enumerate() {
        if let Some((far, axis)) = enter(block, from, ray)
            && far < hit.far
        {
            hit = Hit { far, normal: facing(axis, ray), material: block.material, block: Some(index) };
        }
    }
    hit
}

/// The wall, floor or ceiling behind everything.
fn wall(scene: &Scene, from: Vector, ray: Vector) -> Hit {
    let (mut far, mut axis) = (f64::INFINITY, 0);
    for i in 0..3 {
        let to = if ray[i] > 0.0 { scene.size[i] } else { 0.0 };
        let t = if ray[i] == 0.0 { f64::INFINITY } else { (to - from[i]) / ray[i] };
        if t < far {
            (far, axis) = (t, i);
        }
    }
    let material = match (axis, ray[axis] > 0.0) {
        (0, false) => scene.walls[0],
        (0, true) => scene.walls[1],
        (1, false) => scene.floor,
        (1, true) => scene.ceiling,
        _ => scene.walls[2],
    };
    Hit { far, normal: facing(axis, ray), material, block: None }
}

/// The side's direction out of it, towards where the ray comes from.
fn facing(axis: usize, ray: Vector) -> Vector {
    let mut normal = [0.0; 3];
    normal[axis] = if ray[axis] > 0.0 { -1.0 } else { 1.0 };
    normal
}

fn shaded(scene: &Scene, ray: Vector, hit: &Hit) -> Colour {
    let point: Vector = std::array::from_fn(|i| scene.camera.place[i] + hit.far * ray[i]);
    let above: Vector = std::array::from_fn(|i| point[i] + 1e-4 * hit.normal[i]);
    let albedo = hit.material.at(point);
    if hit.material.glow > 0.0 {
        return albedo.map(|c| hit.material.glow * c);
    }
    // Where surfaces meet, less light arrives from all around.
    let corner =
        (0..3).filter(|&i| hit.normal[i] == 0.0).map(|i| above[i].min(scene.size[i] - above[i]).clamp(0.0, 0.5)).fold(0.5, f64::min);
    let open = 0.78 + 0.22 * corner / 0.5;
    let tilt = 0.9 + 0.1 * hit.normal[1] - 0.06 * hit.normal[0].abs();
    let mut light = scene.ambient.map(|c| c * open * tilt);
    for source in &scene.lights {
        let to = minus(source.place, above);
        let square = dot(to, to);
        let slope = dot(to, hit.normal) / libm::sqrt(square);
        if slope > 0.0 && !scene.blocks.iter().any(|block| enter(block, above, to).is_some_and(|(far, _)| far < 1.0)) {
            // Softer than the square of the distance: rooms are full of light that was reflected.
            let strength = slope / (1.1 + 0.3 * square);
            light.iter_mut().zip(source.colour).for_each(|(l, c)| *l += strength * c);
        }
    }
    std::array::from_fn(|i| albedo[i] * light[i])
}

fn minus(a: Vector, b: Vector) -> Vector {
    std::array::from_fn(|i| a[i] - b[i])
}

fn dot(a: Vector, b: Vector) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
