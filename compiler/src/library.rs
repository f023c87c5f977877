//! The standard library: algorithms written in the language itself.

/// Names of the modules, without `std.`.
pub const NAMES: [&str; 7] = ["dqn", "double_dqn", "sac", "sac_auto", "discrete_sac", "reinforce", "td3"];

/// The text of a module by its name, without `std.`.
pub fn source(name: &str) -> Option<&'static str> {
    Some(match name {
        "dqn" => include_str!("std/dqn.rl"),
        "double_dqn" => include_str!("std/double_dqn.rl"),
        "sac" => include_str!("std/sac.rl"),
        "sac_auto" => include_str!("std/sac_auto.rl"),
        "discrete_sac" => include_str!("std/discrete_sac.rl"),
        "reinforce" => include_str!("std/reinforce.rl"),
        "td3" => include_str!("std/td3.rl"),
        _ => return None,
    })
}
