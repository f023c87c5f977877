//! Seconds and peak memory of compiling wide programs, each in a process of its own:
//! `cargo bench --bench compile`.

use std::time::Instant;

// As the command has it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const CARTPOLE: &str = include_str!("../examples/cartpole_dqn.rl");
const ACTOR: &str = include_str!("../examples/actor.rl");

/// A critic of two hidden layers that is fitted to the reward.
fn critic(width: usize, activation: &str, batch: usize) -> String {
    format!(
        r#"env "Pendulum-v1" {{
    observe s: [3] in [-1, 1], [-1, 1], [-8, 8]
    act a: [1] in [-2, 2]
    reward r in [-16.3, 0]
    client {{ r <- 0.1 * r + 0.8 }}
}}
net v(s) -> [1] {{
    dense {width} {activation}
    dense {width} {activation}
    dense 1
}}
algorithm fit(v) {{
    parameter optimizer
    minimize mean((v(s) - r)^2) over v with optimizer
}}
train fit(v) {{ batch = {batch} updates = 100 optimizer = momentum(lr: 0.1) }}
secure ckks {{ refresh = client }}"#
    )
}

/// An actor of two hidden layers, served.
fn actor(width: usize, public: bool) -> String {
    let public = if public { "public = [actor]" } else { "" };
    format!(
        r#"env "Pendulum-v1" {{ observe s: [3] in [-1, 1], [-1, 1], [-8, 8]  act a: [1] in [-2, 2]  reward r in [-16.3, 0] }}
net actor(s) -> [1] {{
    dense {width} silu(degree: 7)
    dense {width} silu(degree: 7)
    dense 1
}}
serve actor(s) {{ batch = 256 }}
secure ckks {{ secret = [s] {public} }}"#
    )
}

fn programs() -> Vec<(&'static str, String)> {
    vec![
        ("cartpole_dqn", CARTPOLE.to_owned()),
        ("actor", ACTOR.to_owned()),
        ("train 3-64-64-1 square", critic(64, "square", 256)),
        ("train 3-256-256-1 square", critic(256, "square", 256)),
        ("train 3-256-256-1 silu 7", critic(256, "silu(degree: 7)", 256)),
        ("serve 3-256-256-1 secret", actor(256, false)),
        ("serve 3-256-256-1 public", actor(256, true)),
    ]
}

/// Most memory this process has held, in MiB.
fn peak() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|text| text.split_whitespace().next()?.parse::<f64>().ok()).map_or(f64::NAN, |kib| kib / 1024.0)
}

fn main() {
    let wanted = std::env::args().skip(1).find(|arg| !arg.starts_with("--"));
    let Some(wanted) = wanted else {
        let this = std::env::current_exe().expect("this program has a path");
        for (name, _) in programs() {
            let status = std::process::Command::new(&this).arg(name).status().expect("this program starts");
            assert!(status.success(), "{name}");
        }
        return;
    };
    for (name, source) in programs().into_iter().filter(|(name, _)| *name == wanted) {
        let start = Instant::now();
        let result = hecc_compiler::compile(&source, &hecc_compiler::Options::default());
        let seconds = start.elapsed().as_secs_f64();
        match result {
            Ok(compiled) => {
                let plan = &compiled.plan;
                let megabytes = hecc_plan::write(plan).len() as f64 / 1e6;
                println!(
                    "{name:<28} {seconds:7.2} s {:8.0} MiB   N = 2^{}, {} steps, plan of {megabytes:.1} MB",
                    peak(),
                    plan.ckks.log_n,
                    plan.steps.len()
                );
            }
            Err(errors) => println!("{name:<28} {seconds:7.2} s {:8.0} MiB   {}", peak(), errors[0].message),
        }
    }
}
