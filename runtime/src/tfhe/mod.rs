//! The TFHE backend: ciphertexts of single small integers. Nothing outside this folder names the cryptographic library.
//!
//! A ciphertext holds `value · 2^-log_step` on the torus, under the secret of a ring; every step says which. With a bit of
//! padding, values of `p` bits have `log_step = p + 1`, without it `p`.

mod backend;
mod ciphertext;
mod compute;
mod keys;
mod party;
pub(crate) mod probe;
mod secret;
mod sending;
#[cfg(test)]
mod tests;

pub(crate) use party::{TfheClient, TfheServer};
