//! One file per command.

pub mod audit;
pub mod calibrate;
pub mod check;
pub mod compile;
pub mod explain;
pub mod fmt;
pub mod init;
pub mod library;
pub mod run;
pub mod train;
