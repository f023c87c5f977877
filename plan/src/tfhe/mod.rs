//! Programs over small integers, one to a ciphertext, for the TFHE scheme: linear operations, and lookups that refresh.

pub mod choose;
pub mod noise;
pub mod parameters;
pub mod prices;
