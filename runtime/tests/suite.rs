//! All tests of the runtime from outside, in one program: they run side by side.

mod engine_carried;
mod engine_messages;
mod engine_plans;
mod engine_support;
mod engine_timing;
mod env_recorded;
mod session_cartpole;
mod session_environments;
mod session_run;
