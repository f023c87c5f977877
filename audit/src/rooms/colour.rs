//! Colours, and what surfaces look like.

/// Red, green and blue, in [0, 1].
pub type Colour = [f64; 3];

/// A colour of a hue in [0, 1) (which goes round), a saturation and a value.
pub fn hsv(hue: f64, saturation: f64, value: f64) -> Colour {
    let channel = |shift: f64| {
        let at = 6.0 * libm::fmod(hue + shift + 2.0, 1.0);
        let ramp = ((at - 3.0).abs() - 1.0).clamp(0.0, 1.0);
        value * (1.0 - saturation + saturation * ramp)
    };
    [channel(0.0), channel(2.0 / 3.0), channel(1.0 / 3.0)]
}

/// How a surface is painted.
#[derive(Clone, Copy, Debug)]
pub enum Pattern {
    /// In one colour.
    Plain,
    /// Square tiles of this side with joints between them.
    Tiles(f64),
    /// Planks of this width along the depth of the room.
    Planks(f64),
    /// Stripes of this width, upright.
    Stripes(f64),
    /// A border of this width in the second colour, of what lies within the two corners.
    Border(f64, [f64; 2], [f64; 2]),
}

/// A surface.
#[derive(Clone, Copy, Debug)]
pub struct Material {
    /// Its colour.
    pub colour: Colour,
    /// The other colour of its pattern.
    pub second: Colour,
    /// How the two lie.
    pub pattern: Pattern,
    /// The part of its colour that shines by itself.
    pub glow: f64,
}

impl Material {
    /// One colour.
    pub fn plain(colour: Colour) -> Self {
        Self { colour, second: colour, pattern: Pattern::Plain, glow: 0.0 }
    }

    /// Two colours.
    pub fn patterned(colour: Colour, second: Colour, pattern: Pattern) -> Self {
        Self { colour, second, pattern, glow: 0.0 }
    }

    /// One colour that shines.
    pub fn glowing(colour: Colour) -> Self {
        Self { glow: 1.0, ..Self::plain(colour) }
    }

    /// Its colour at a point.
    pub fn at(&self, point: [f64; 3]) -> Colour {
        let [x, _, z] = point;
        let part = |v: f64, side: f64| v / side - libm::floor(v / side);
        let joint = 0.07;
        match self.pattern {
            Pattern::Plain => self.colour,
            Pattern::Tiles(side) => {
                let edge = part(x, side) < joint || part(z, side) < joint;
                if edge { self.second } else { shade(self.colour, uneven(x / side, z / side, 0.08)) }
            }
            Pattern::Planks(width) => {
                let row = libm::floor(x / width);
                // Neighbouring planks end at different places.
                let along = z / (9.0 * width) + 0.37 * row;
                let edge = part(x, width) < joint || along - libm::floor(along) < joint / 6.0;
                if edge { self.second } else { shade(self.colour, uneven(row, along, 0.16)) }
            }
            Pattern::Stripes(width) => {
                // On a wall one of x and z is constant: the sum runs along either.
                if part(x + z, 2.0 * width) < 0.5 { self.colour } else { self.second }
            }
            Pattern::Border(width, low, high) => {
                let inside = x > low[0] + width && x < high[0] - width && z > low[1] + width && z < high[1] - width;
                if inside { self.colour } else { self.second }
            }
        }
    }
}

/// A colour, lighter or darker.
pub fn shade(colour: Colour, by: f64) -> Colour {
    colour.map(|c| c * by)
}

/// A factor about 1 that is the same within a cell and differs between cells.
fn uneven(a: f64, b: f64, amount: f64) -> f64 {
    let cell = libm::floor(a) * 127.1 + libm::floor(b) * 311.7;
    let value = libm::sin(cell) * 437.585;
    1.0 + amount * (value - libm::floor(value) - 0.5)
}
