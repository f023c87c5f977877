//! The attacks. Each reads a gradient with the eyes of an honest but curious server: it has the program and the weights, and
//! not the transitions.

pub mod form;
pub mod images;
pub mod layers;
pub mod model;
pub mod qgi;
pub mod rgi;
pub mod rgia;
