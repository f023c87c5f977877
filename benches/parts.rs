//! Both parties' seconds per update, and the process's peak memory.
//!
//!     cargo bench --bench parts                          # cartpole 256
//!     cargo bench --bench parts -- regression 16 20      # another program, batch and number of updates
//!
//! Programs: cartpole, regression, the same with -alone (the server bootstraps), actor. HECC_THREADS says how many threads, where not all cores. The peak is VmHWM of this
//! one process, which is client and server at once, keys and ciphertexts of both included (Linux).

#[expect(dead_code, reason = "the wide program is only compiled, by the other bench")]
mod workload;

use workload::Workload;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let number = |index: usize, default: usize| args.get(index).map_or(default, |n| n.parse().expect("a number"));
    let program = args.first().map_or("cartpole", String::as_str);
    let (batch, updates) = (number(1, 256), number(2, 5));
    let mut workload = match program {
        "cartpole" => Workload::cartpole(batch),
        "regression" => Workload::regression(batch),
        "cartpole-alone" => Workload::cartpole_alone(batch),
        "regression-alone" => Workload::regression_alone(batch),
        "actor" => Workload::actor(),
        other => panic!("no program `{other}`: cartpole, cartpole-alone, regression, regression-alone, actor"),
    };
    println!("{program}: total, client, server seconds");
    for _ in 0..updates {
        let update = workload.update();
        println!("{:.3} {:.3} {:.3}", update.seconds, update.client_seconds, update.server_seconds);
    }
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    if let Some(peak) = status.lines().find_map(|line| line.strip_prefix("VmHWM:")) {
        println!("peak memory {}", peak.trim());
    }
}
