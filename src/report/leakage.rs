//! What the parties learn, read off the plan.

use hecc_plan::{ClearOp, Collect, Plan, Target};

use crate::integers;
use crate::output::{bytes, counted};

/// Where what is said here is measured.
pub const MEASURED: &str = "
This is read off the plan. `hecc audit PROGRAM` measures it: published attacks, on gradients in the clear and on what the server has.
";

/// Who learns what: a heading and its points.
pub struct Section {
    /// The heading.
    pub title: &'static str,
    /// What is learned.
    pub points: Vec<String>,
}

/// All there is to say.
pub fn of(plan: &Plan) -> Vec<Section> {
    let mut sections = vec![
        Section { title: "The server learns", points: server(plan) },
        Section { title: "The client learns", points: client(plan) },
        Section { title: "Nobody but the client learns", points: secret(plan) },
    ];
    for (section, more) in sections.iter_mut().zip(integers::acting::leakage(plan.training.as_ref())) {
        section.points.extend(more);
    }
    sections
}

fn server(plan: &Plan) -> Vec<String> {
    let counts = hecc_plan::counts::counts(plan);
    let mut points = vec![format!(
        "the plan itself: {} in {}, every constant and range in it, and how the numbers lie in the slots",
        counted(plan.steps.len(), "step"),
        counted(plan.rounds.len(), "exchange")
    )];
    points.push(format!("the size of a batch: {} samples", plan.geometry.batch));
    if !plan.states.is_empty() {
        let shapes = plan.states.iter().map(|s| format!("{} {:?}", s.name, s.shape)).collect::<Vec<_>>();
        points.push(format!("names and shapes of {}: {}", counted(shapes.len(), "carried array"), shapes.join(", ")));
    }
    if let Some(training) = &plan.training {
        let run = &training.run;
        let collected = match run.collect {
            Collect::Online => "gathered while it trains".to_owned(),
            Collect::Random(count) => format!("{count} of the random policy"),
        };
        points.push(format!(
            "the environment's name ({}), its declared ranges, and the run's settings: {}, discount {}, transitions {collected}, seed {}",
            training.env.id,
            counted(run.updates, "update"),
            run.discount,
            run.seed
        ));
        points.push("how many updates were made, when each began, and when the client stopped".to_owned());
    } else {
        points.push("how many batches were sent, and when".to_owned());
    }
    points.push(format!(
        "number and size of messages: {} in and {} out per update, the same whatever the data",
        bytes(counts.bytes_to_server_per_update),
        bytes(counts.bytes_to_client_per_update)
    ));
    points.push("its own computing time, which depends on the plan and not on the data".to_owned());
    for (name, shape) in &plan.public {
        points.push(format!("the values of `{name}` {shape:?}, which the program makes public"));
    }
    points
}

fn client(plan: &Plan) -> Vec<String> {
    let mut points = Vec::new();
    let targets = || plan.outputs.iter().flat_map(|output| &output.contents).map(|content| &content.tensor);
    let mut states: Vec<&str> = targets()
        .filter_map(|target| match target {
            Target::State(name) | Target::Rated { name, .. } => Some(name.as_str()),
            Target::Value { .. } | Target::Result { .. } => None,
        })
        .collect();
    states.sort_unstable();
    states.dedup();
    if !states.is_empty() {
        points.push(format!("after each update, the new values of {}: it owns the key and refreshes them", states.join(", ")));
    }
    if !plan.settled.is_empty() {
        let names: Vec<&str> = plan.settled.iter().map(|(name, _)| name.as_str()).collect();
        points.push(format!(
            "the new values of {}, which it computes itself of what comes back: the gradients of the batch among it",
            names.join(", ")
        ));
    }
    let refreshed = plan.outputs.iter().filter(|output| output.label == hecc_plan::REFRESHED).count();
    if refreshed > 0 {
        points.push(format!(
            "{} in the middle of an update, slot by slot, which it decrypts and encrypts anew",
            counted(refreshed, "ciphertext")
        ));
    }
    let mut results: Vec<String> = targets()
        .filter_map(|target| match target {
            Target::Result { name, dim: 0 } => Some(format!("`{name}`, one number per update")),
            Target::Result { name, dim } => Some(format!("`{name}`, {dim} per sample")),
            Target::State(_) | Target::Rated { .. } | Target::Value { .. } => None,
        })
        .collect();
    results.sort_unstable();
    results.dedup();
    points.extend(results.into_iter().map(|result| format!("the result {result}")));
    let mut values: Vec<String> = plan
        .outputs
        .iter()
        .filter(|output| output.label != hecc_plan::REFRESHED)
        .flat_map(|output| output.contents.iter().map(move |content| (&output.label, &content.tensor)))
        .filter_map(|(label, target)| match target {
            Target::Value { id, shape } => {
                Some(format!("value {id} {shape:?} in the middle of an update ({label}), which it computes on with"))
            }
            Target::State(_) | Target::Rated { .. } | Target::Result { .. } => None,
        })
        .collect();
    values.dedup();
    points.extend(values);
    for carried in &plan.carried {
        let names = carried.contents.iter().filter_map(|content| match &content.tensor {
            Target::State(name) | Target::Rated { name, .. } => Some(name.as_str()),
            Target::Value { .. } | Target::Result { .. } => None,
        });
        let mut names: Vec<&str> = names.collect();
        names.sort_unstable();
        names.dedup();
        points.push(format!(
            "whenever it fetches them, the values of {}, which the server keeps encrypted between updates",
            names.join(", ")
        ));
    }
    if let Some(training) = &plan.training {
        let released: Vec<&str> = training.release.iter().map(|(state, _)| state.as_str()).collect();
        if !released.is_empty() {
            points.push(format!("the released weights, rounded to 2^-16 of their range: {}", released.join(", ")));
        }
    }
    if !plan.public.is_empty() {
        points.push("of the server's public arrays, what the results tell and the noise of decrypted results does not hide".to_owned());
    }
    points
}

fn secret(plan: &Plan) -> Vec<String> {
    let mut batch: Vec<&str> = plan
        .client
        .nodes
        .iter()
        .filter_map(|node| match &node.op {
            ClearOp::Batch { name, .. } => Some(name.as_str()),
            _ => None,
        })
        .collect();
    batch.sort_unstable();
    batch.dedup();
    let mut points = vec![format!("the batch: {}", batch.join(", "))];
    if !plan.states.is_empty() {
        points.push("the values of the carried arrays, and all gradients on the way".to_owned());
    }
    points.push(format!("the secret key, at {} bits of security against the tables of eprint 2024/463", plan.ckks.security_bits));
    points
}
