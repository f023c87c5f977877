//! What a refresh costs: the bootstraps and exchanges that a planner may choose from.

use std::fmt;

use super::{Bits, Curve};

/// Who refreshes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Party {
    /// The server bootstraps.
    Server,
    /// The key owner decrypts and encrypts again: a round trip, no keys.
    Client,
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Server => "server",
            Self::Client => "client",
        })
    }
}

/// One way to refresh one ciphertext, at one ring degree.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What people call it.
    pub name: String,
    /// Who does it.
    pub party: Party,
    /// Slots that one refresh carries: all of the ring's, or fewer for a sparse bootstrap.
    pub slots: u64,
    /// Bits that must be left when it starts.
    pub input: Bits,
    /// Most bits that are left when it ends.
    pub output: Bits,
    /// Seconds of one refresh, by the bits left when it ends.
    pub seconds: Curve,
    /// Seconds of a moment at which anything is refreshed, whatever its number: the round trip of an exchange.
    pub moment_seconds: f64,
    /// Bytes exchanged per refresh, by the bits left when it ends.
    pub traffic: Curve,
    /// Bytes of its keys.
    pub key_bytes: u64,
    /// Bytes of working memory, keys not counted.
    pub memory_bytes: u64,
}

/// What several values in one ciphertext cost: masks and rotations on the way in and out, per value.
#[derive(Clone, Debug)]
pub struct Packing {
    /// Bits that packing spends, before the refresh.
    pub enter_bits: Bits,
    /// Bits that unpacking spends, after it.
    pub leave_bits: Bits,
    /// Seconds to pack one value, by the bits it has then.
    pub enter: Curve,
    /// Seconds to unpack one value, by the bits the refresh left.
    pub leave: Curve,
}

/// A ring degree: what an update costs there, and how to refresh.
#[derive(Clone, Debug)]
pub struct Ring {
    /// Base-2 logarithm of the ring degree.
    pub log_n: u32,
    /// Seconds of one update, by the widest budget at which a carried value enters it.
    pub update: Curve,
    /// What packing costs.
    pub packing: Packing,
    /// Ways to refresh.
    pub offers: Vec<Offer>,
}
