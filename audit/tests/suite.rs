//! All tests of the audit from outside, in one program: they run side by side.

mod arrays;
mod encrypted;
mod images;
mod metrics;
mod privacy;
mod report;
mod report_support;
mod rooms;
mod server;
mod statistics;
mod transitions;
mod vectors;
