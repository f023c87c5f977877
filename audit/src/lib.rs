//! What a training server could reconstruct: the report of an audit, the metrics in it, and the data that attacks run on.
//!
//! The attacks run on a user's own models and data, to judge a design.
#![warn(clippy::missing_errors_doc)]

pub mod arrays;
pub mod attacks;
pub mod flow;
pub mod matching;
pub mod metrics;
pub mod report;
pub mod rooms;
pub mod run;
pub mod samples;
pub mod scenes;
pub mod server;
pub mod statistics;
