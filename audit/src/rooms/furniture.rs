//! Furniture as boxes, standing with its back against a wall.

use rand::Rng;

use super::colour::{Colour, Material, Pattern, hsv, shade};
use super::scene::Block;

/// Blocks in the coordinates of a piece: x along the wall from its middle, y up, z from the wall into the room.
pub struct Piece {
    /// Its width along the wall.
    pub width: f64,
    /// What it is made of.
    pub blocks: Vec<Block>,
}

/// A piece's kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// With a cover and pillows.
    Bed,
    /// With doors.
    Wardrobe,
    /// With a screen or books on it.
    Table,
    /// With a cushion.
    Sofa,
    /// With books.
    Shelf,
    /// On a pole.
    Lamp,
    /// In a pot.
    Plant,
    /// Of drawers.
    Chest,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 8] = [Kind::Bed, Kind::Wardrobe, Kind::Table, Kind::Sofa, Kind::Shelf, Kind::Lamp, Kind::Plant, Kind::Chest];

    /// Draws one.
    pub fn build(self, rng: &mut impl Rng) -> Piece {
        match self {
            Kind::Bed => bed(rng),
            Kind::Wardrobe => wardrobe(rng),
            Kind::Table => table(rng),
            Kind::Sofa => sofa(rng),
            Kind::Shelf => shelf(rng),
            Kind::Lamp => lamp(rng),
            Kind::Plant => plant(rng),
            Kind::Chest => chest(rng),
        }
    }
}

fn block(x: [f64; 2], y: [f64; 2], z: [f64; 2], material: Material) -> Block {
    Block { low: [x[0], y[0], z[0]], high: [x[1], y[1], z[1]], material }
}

fn wood(rng: &mut impl Rng) -> Colour {
    hsv(rng.random_range(0.055..0.1), rng.random_range(0.3..0.6), rng.random_range(0.35..0.8))
}

fn fabric(rng: &mut impl Rng) -> Colour {
    hsv(rng.random(), rng.random_range(0.25..0.6), rng.random_range(0.4..0.85))
}

/// Wood or paint.
fn finish(rng: &mut impl Rng) -> Colour {
    match rng.random_range(0..3) {
        0 => hsv(rng.random(), rng.random_range(0.05..0.3), rng.random_range(0.75..0.95)),
        _ => wood(rng),
    }
}

fn bed(rng: &mut impl Rng) -> Piece {
    let (w, d, wood) = (rng.random_range(1.0..1.7), rng.random_range(1.9..2.1), wood(rng));
    let (cover, x) = (fabric(rng), w / 2.0);
    let linen = hsv(0.1, 0.04, 0.93);
    let mut blocks = vec![
        block([-x, x], [0.08, 0.3], [0.0, d], Material::plain(wood)),
        block([-x, x], [0.0, 0.95], [0.0, 0.07], Material::plain(shade(wood, 0.85))),
        block([-x + 0.02, x - 0.02], [0.3, 0.47], [0.07, d - 0.03], Material::plain(linen)),
        block([-x, x], [0.26, 0.52], [0.7, d], Material::plain(cover)),
    ];
    let pillows = if w > 1.35 { 2 } else { 1 };
    let each = w / f64::from(pillows);
    for i in 0..pillows {
        let left = -x + each * f64::from(i);
        blocks.push(block([left + 0.08, left + each - 0.08], [0.47, 0.6], [0.12, 0.55], Material::plain(shade(linen, 0.97))));
    }
    Piece { width: w, blocks }
}

fn wardrobe(rng: &mut impl Rng) -> Piece {
    let (w, h, colour): (f64, f64, _) = (rng.random_range(0.9..1.7), rng.random_range(1.8..2.2), finish(rng));
    let (x, front) = (w / 2.0, 0.58);
    let mut blocks = vec![block([-x, x], [0.0, h], [0.0, front], Material::plain(shade(colour, 0.8)))];
    let doors = if w > 1.3 { 3 } else { 2 };
    let each = w / f64::from(doors);
    for i in 0..doors {
        let left = -x + each * f64::from(i);
        blocks.push(block([left + 0.02, left + each - 0.02], [0.08, h - 0.04], [front, front + 0.025], Material::plain(colour)));
        let knob = if i % 2 == 0 { left + each - 0.1 } else { left + 0.06 };
        blocks.push(block([knob, knob + 0.04], [1.0, 1.16], [front + 0.025, front + 0.06], Material::plain([0.25, 0.24, 0.22])));
    }
    Piece { width: w, blocks }
}

fn table(rng: &mut impl Rng) -> Piece {
    let (w, d, colour) = (rng.random_range(1.0..1.6), rng.random_range(0.6..0.85), finish(rng));
    let (x, h, gap) = (w / 2.0, rng.random_range(0.7..0.78), 0.1);
    let mut blocks = vec![block([-x, x], [h - 0.05, h], [gap, gap + d], Material::plain(colour))];
    let dark = Material::plain(shade(colour, 0.75));
    for left in [-x + 0.03, x - 0.1] {
        for near in [gap + 0.03, gap + d - 0.1] {
            blocks.push(block([left, left + 0.07], [0.0, h - 0.05], [near, near + 0.07], dark));
        }
    }
    // Something stands on it: a screen, or books.
    let at = rng.random_range(-0.25..0.25) * w;
    if rng.random_bool(0.5) {
        blocks.push(block([at - 0.28, at + 0.28], [h + 0.1, h + 0.44], [gap + 0.2, gap + 0.23], Material::plain([0.12, 0.13, 0.16])));
        blocks.push(block([at - 0.05, at + 0.05], [h, h + 0.1], [gap + 0.17, gap + 0.26], Material::plain([0.2, 0.2, 0.22])));
        let screen = hsv(rng.random_range(0.5..0.7), 0.5, 0.75);
        blocks.push(block([at - 0.26, at + 0.26], [h + 0.12, h + 0.42], [gap + 0.23, gap + 0.235], Material::glowing(screen)));
    } else {
        let (cover, other) = (fabric(rng), fabric(rng));
        blocks.push(block([at - 0.16, at + 0.16], [h, h + 0.07], [gap + 0.2, gap + 0.42], Material::plain(cover)));
        blocks.push(block([at - 0.12, at + 0.15], [h + 0.07, h + 0.13], [gap + 0.22, gap + 0.4], Material::plain(other)));
    }
    Piece { width: w, blocks }
}

fn sofa(rng: &mut impl Rng) -> Piece {
    let (w, colour) = (rng.random_range(1.5..2.1), fabric(rng));
    let (x, d) = (w / 2.0, 0.9);
    let (body, seat) = (Material::plain(shade(colour, 0.9)), Material::plain(colour));
    let mut blocks = vec![
        block([-x, x], [0.06, 0.8], [0.0, 0.24], body),
        block([-x, x], [0.06, 0.3], [0.24, d - 0.04], Material::plain(shade(colour, 0.75))),
        block([-x, -x + 0.2], [0.06, 0.58], [0.0, d], body),
        block([x - 0.2, x], [0.06, 0.58], [0.0, d], body),
    ];
    let each = (w - 0.4) / 2.0;
    for i in 0..2 {
        let left = -x + 0.2 + each * f64::from(i);
        blocks.push(block([left + 0.01, left + each - 0.01], [0.3, 0.44], [0.24, d], seat));
    }
    let cushion = fabric(rng);
    let at = rng.random_range(-0.5..0.5) * (w - 0.9);
    blocks.push(block([at - 0.2, at + 0.2], [0.44, 0.82], [0.24, 0.4], Material::plain(cushion)));
    Piece { width: w, blocks }
}

fn shelf(rng: &mut impl Rng) -> Piece {
    let (w, boards, colour) = (rng.random_range(0.8..1.3), rng.random_range(3..=5), finish(rng));
    let (x, d, step) = (w / 2.0, 0.32, 0.38);
    let h = step * f64::from(boards) + 0.04;
    let side = Material::plain(colour);
    let mut blocks = vec![
        block([-x, x], [0.0, h], [0.0, 0.02], Material::plain(shade(colour, 0.6))),
        block([-x, -x + 0.04], [0.0, h], [0.0, d], side),
        block([x - 0.04, x], [0.0, h], [0.0, d], side),
    ];
    for i in 0..=boards {
        let y = step * f64::from(i);
        blocks.push(block([-x, x], [y, y + 0.04], [0.0, d], side));
        if i == boards {
            break;
        }
        let mut left = -x + 0.06;
        while left < x - 0.2 {
            let (thick, tall) = (rng.random_range(0.06..0.16), rng.random_range(0.18..0.31));
            if rng.random_bool(0.8) {
                let book = Material::plain(hsv(rng.random(), rng.random_range(0.3..0.7), rng.random_range(0.35..0.85)));
                blocks.push(block([left, left + thick - 0.01], [y + 0.04, y + 0.04 + tall], [0.02, 0.24], book));
            }
            left += thick;
        }
    }
    Piece { width: w, blocks }
}

fn lamp(rng: &mut impl Rng) -> Piece {
    let h: f64 = rng.random_range(1.4..1.75);
    let dark = Material::plain([0.22, 0.21, 0.2]);
    let shine = hsv(rng.random_range(0.09..0.14), rng.random_range(0.2..0.4), 1.0);
    let blocks = vec![
        block([-0.15, 0.15], [0.0, 0.04], [0.15, 0.45], dark),
        block([-0.02, 0.02], [0.04, h], [0.28, 0.32], dark),
        block([-0.2, 0.2], [h, h + 0.32], [0.1, 0.5], Material::glowing(shine)),
    ];
    Piece { width: 0.5, blocks }
}

fn plant(rng: &mut impl Rng) -> Piece {
    let pot = hsv(rng.random_range(0.0..0.1), rng.random_range(0.2..0.65), rng.random_range(0.5..0.8));
    let green = hsv(rng.random_range(0.24..0.38), rng.random_range(0.5..0.75), rng.random_range(0.35..0.6));
    let mut blocks = vec![block([-0.17, 0.17], [0.0, 0.36], [0.13, 0.47], Material::plain(pot))];
    for _ in 0..9 {
        let (x, z, y) = (rng.random_range(-0.24..0.24), rng.random_range(0.06..0.54), rng.random_range(0.36..1.1));
        let (wide, tall) = (rng.random_range(0.06..0.15), rng.random_range(0.12..0.34));
        let leaf = Material::plain(shade(green, rng.random_range(0.75..1.25)));
        blocks.push(block([x - wide, x + wide], [y, y + tall], [(z - wide).max(0.02), z + wide], leaf));
    }
    Piece { width: 0.6, blocks }
}

fn chest(rng: &mut impl Rng) -> Piece {
    let (w, drawers, colour) = (rng.random_range(0.8..1.2), rng.random_range(2..=4), finish(rng));
    let (x, step, d) = (w / 2.0, 0.24, 0.45);
    let h = 0.06 + step * f64::from(drawers) + 0.04;
    let mut blocks = vec![block([-x, x], [0.0, h], [0.0, d], Material::plain(shade(colour, 0.8)))];
    for i in 0..drawers {
        let y = 0.06 + step * f64::from(i);
        blocks.push(block([-x + 0.03, x - 0.03], [y + 0.015, y + step - 0.015], [d, d + 0.02], Material::plain(colour)));
        blocks.push(block([-0.09, 0.09], [y + 0.1, y + 0.14], [d + 0.02, d + 0.045], Material::plain([0.3, 0.28, 0.25])));
    }
    // A picture leans on it, or a vase stands there.
    let (at, cover) = (rng.random_range(-0.2..0.2), fabric(rng));
    let frame = Material::patterned(cover, shade(cover, 0.4), Pattern::Stripes(0.06));
    if rng.random_bool(0.5) {
        blocks.push(block([at - 0.16, at + 0.16], [h, h + 0.4], [0.02, 0.05], frame));
    } else {
        blocks.push(block([at - 0.07, at + 0.07], [h, h + 0.3], [0.15, 0.29], Material::plain(cover)));
    }
    Piece { width: w, blocks }
}
