//! What the parties of a plan of integers learn, read off the plan.

use std::fmt::Write;

use hecc_plan::tfhe::Plan;
use hecc_plan::tfhe::prices::Prices;
use hecc_plan::{ClearOp, Target};

use super::acting;
use super::summary::predicted;
use crate::output::{bytes, counted};

/// What `hecc explain --leakage` prints.
pub fn leakage(plan: &Plan) -> String {
    let mut out = String::new();
    for (title, points) in sections(plan) {
        let gap = if out.is_empty() { "" } else { "\n" };
        let _ = writeln!(out, "{gap}{title}\n{}", "-".repeat(title.len()));
        points.iter().for_each(|point| out.push_str(&format!("- {point}\n")));
    }
    if plan.training.is_some() {
        out.push_str(crate::report::leakage::MEASURED);
    }
    out
}

/// Who learns what: a heading and its points.
pub fn sections(plan: &Plan) -> Vec<(&'static str, Vec<String>)> {
    let titles = ["The server learns", "The client learns", "Nobody but the client learns"];
    let points = [server(plan), client(plan), secret(plan)];
    let all = titles.into_iter().zip(points).zip(acting::leakage(plan.training.as_ref()));
    all.map(|((title, points), more)| (title, [points, more].concat())).collect()
}

fn server(plan: &Plan) -> Vec<String> {
    // Bytes, which are the same on every machine.
    let p = predicted(plan, Prices::built_in(), 0);
    let mut points = vec![
        format!("the plan itself: {}, every table, coefficient and range in it", counted(plan.steps.len(), "step")),
        format!("the size of a batch: {}", counted(plan.batch, "sample")),
    ];
    points.extend(plan.states.iter().map(|state| format!("name and shape of `{}` {:?}", state.name, state.shape)));
    points.extend(
        plan.public.iter().map(|public| format!("the values of `{}` {:?}, which the program makes public", public.name, public.shape)),
    );
    if let Some(training) = &plan.training {
        points.push(format!("the environment's name ({}), its declared ranges, and the run's settings", training.env.id));
    }
    points.push(format!(
        "how many batches were sent, and when; {} in and {} out each, the same whatever the data",
        bytes(p.bytes_to_server),
        bytes(p.bytes_to_client)
    ));
    if !plan.carried.is_empty() {
        points.push(format!(
            "when the client fetches the states, {} each time, and when it plants them anew, {}, the same whatever they are",
            bytes(p.bytes_fetched),
            bytes(p.bytes_to_carry)
        ));
    }
    points.push("its own computing time, which depends on the plan and not on the data".to_owned());
    points
}

fn client(plan: &Plan) -> Vec<String> {
    let told = |target: &Target| match target {
        Target::State(name) => Some(format!("the new values of `{name}` after each update: it owns the key and refreshes them")),
        Target::Result { name, dim: 0 } => Some(format!("the result `{name}`, one number per update")),
        Target::Result { name, dim } => Some(format!("the result `{name}`, {dim} per sample")),
        Target::Rated { .. } | Target::Value { .. } => None,
    };
    let mut points: Vec<String> = plan.outputs.iter().filter_map(|output| told(&output.target)).collect();
    if !plan.carried.is_empty() {
        let names: Vec<String> = plan.states.iter().map(|state| format!("`{}`", state.name)).collect();
        points.push(format!(
            "whenever it fetches them, the values of {}, which the server keeps encrypted between updates",
            names.join(", ")
        ));
    }
    points.push("of public networks, the plan with their tables".to_owned());
    points.retain(|point| !plan.public.is_empty() || !point.starts_with("of public"));
    points
}

fn secret(plan: &Plan) -> Vec<String> {
    let names = plan.client.nodes.iter().filter_map(|node| match &node.op {
        ClearOp::Batch { name, .. } => Some(name.as_str()),
        _ => None,
    });
    let mut names: Vec<&str> = names.collect();
    names.sort_unstable();
    names.dedup();
    let mut points = vec![format!("the batch: {}", names.join(", "))];
    if !plan.states.is_empty() {
        points.push("the values of the states, and everything in between".to_owned());
    }
    points.push(format!("the secret keys, at {} bits of security", plan.parameters.security_bits));
    points
}
