//! Names of passes, and which of them run.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

/// A pass that can be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PassName {
    /// Constants into scales and offsets.
    Fold,
    /// Equal values once.
    Share,
    /// What no output needs.
    Prune,
    /// Products to the client.
    Hoist,
    /// Twin networks in one.
    Twins,
    /// Equality saturation.
    Saturate,
    /// Degrees of polynomials by what plans take, where the shallowest are not those of the fewest products.
    Degrees,
    /// Precision that costs no limb.
    Refine,
    /// Rotations out of sums and products, in the circuit.
    Rotations,
    /// A server that trains alone may have all parameters beside each other in the slots of each sample.
    Tiles,
    /// A server that trains alone may have a ciphertext of every diagonal, samples in its lanes.
    Lanes,
}

/// All names, in the order in which the passes run.
pub const NAMES: [PassName; 11] = [
    PassName::Fold,
    PassName::Share,
    PassName::Prune,
    PassName::Hoist,
    PassName::Degrees,
    PassName::Twins,
    PassName::Saturate,
    PassName::Lanes,
    PassName::Tiles,
    PassName::Rotations,
    PassName::Refine,
];

impl PassName {
    /// The name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fold => "fold",
            Self::Share => "share",
            Self::Prune => "prune",
            Self::Hoist => "hoist",
            Self::Twins => "twins",
            Self::Saturate => "saturate",
            Self::Degrees => "degrees",
            Self::Refine => "refine",
            Self::Rotations => "rotations",
            Self::Tiles => "tiles",
            Self::Lanes => "lanes",
        }
    }
}

impl fmt::Display for PassName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A name that no pass has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no pass `{name}`; passes are {}", NAMES.map(PassName::as_str).join(", "))]
pub struct UnknownPass {
    /// What was asked for.
    pub name: String,
}

impl FromStr for PassName {
    type Err = UnknownPass;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        NAMES.into_iter().find(|name| name.as_str() == text).ok_or_else(|| UnknownPass { name: text.to_owned() })
    }
}

/// How hard to try, from 0 to 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Level(u8);

impl Level {
    /// The level; larger numbers are 3.
    pub fn new(level: u8) -> Self {
        Self(level.min(3))
    }

    /// Its number.
    pub fn get(self) -> u8 {
        self.0
    }
}

impl Default for Level {
    fn default() -> Self {
        Self(3)
    }
}

/// The passes that run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selection(BTreeSet<PassName>);

impl Selection {
    /// The passes of a level, less those of `without`. Level 0 has what correctness needs, 1 adds what only takes away, 2 what
    /// moves work to the client and between steps, 3 equality saturation.
    pub fn new(level: Level, without: &[PassName]) -> Self {
        let from = |name: PassName| match name {
            PassName::Lanes => 0,
            PassName::Fold | PassName::Share | PassName::Prune => 1,
            PassName::Hoist | PassName::Degrees | PassName::Refine | PassName::Rotations | PassName::Tiles | PassName::Twins => 2,
            PassName::Saturate => 3,
        };
        Self(NAMES.into_iter().filter(|&name| from(name) <= level.get() && !without.contains(&name)).collect())
    }

    /// Whether a pass runs.
    pub fn contains(&self, name: PassName) -> bool {
        self.0.contains(&name)
    }
}

impl Default for Selection {
    fn default() -> Self {
        Self::new(Level::default(), &[])
    }
}
