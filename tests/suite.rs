//! All tests of the tool from outside, in one program: they run side by side.

mod audit;
mod cli;
mod client_features;
mod codes;
mod encrypted_update;
mod exchange;
mod integers;
mod integers_carried;
mod integers_hostile;
mod integers_report;
mod interactive;
mod plan_files;
mod precision;
mod reference;
mod served;
mod study;
mod tracking;
mod widen;
