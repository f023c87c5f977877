//! What a plan lets the server see, read off the plan.

use std::collections::BTreeSet;

use hecc_plan::tfhe;
use hecc_plan::{ClearOp, ClearProgram, Plan, Target, counts};

use crate::report::{Flow, Form, Seen};

fn seen(what: impl Into<String>, form: Form, bytes: Option<u64>, often: &str) -> Seen {
    Seen { what: what.into(), form, bytes, often: often.to_owned() }
}

/// The flow of a plan of slots. Networks that it trains in the clear are the server's to compare before and after.
pub fn of(plan: &Plan) -> Flow {
    let counts = counts::counts(plan);
    let mut sees = vec![
        seen("ciphertexts of the batch", Form::Ciphertext, Some(counts.bytes_to_server_per_update), "per update"),
        seen(
            "ciphertexts of what it computes, gradients and weights among it",
            Form::Ciphertext,
            Some(counts.bytes_to_client_per_update),
            "per update",
        ),
        seen("evaluation keys", Form::Ciphertext, Some(counts.key_bytes), "once"),
        seen("the program, its constants and shapes", Form::Public, None, "once"),
        seen("sizes and times of messages, the same whatever the data", Form::Public, None, "per update"),
    ];
    if plan.training.is_some() {
        let results = plan.outputs.iter().flat_map(|output| &output.contents).filter_map(|content| match &content.tensor {
            Target::Result { name, .. } => Some(name.as_str()),
            _ => None,
        });
        for name in results.collect::<BTreeSet<&str>>() {
            sees.push(seen(format!("`{name}`, which the key owner alone opens"), Form::Ciphertext, None, "per update"));
        }
    }
    for (name, _) in &plan.public {
        let (form, often) = match plan.states.iter().any(|state| state.name == *name) && plan.training.is_some() {
            true => (Form::Data, "per update"),
            false => (Form::Public, "once"),
        };
        sees.push(seen(format!("the values of `{name}`"), form, None, often));
    }
    Flow { sees, secret: secret(&plan.client, !plan.states.is_empty()), agreement: None }
}

/// The flow of a plan of integers.
pub fn of_integers(plan: &tfhe::Plan) -> Flow {
    let mut sees = vec![
        seen("ciphertexts of the batch", Form::Ciphertext, None, "per update"),
        seen("ciphertexts of what it computes", Form::Ciphertext, None, "per update"),
        seen("evaluation keys", Form::Ciphertext, None, "once"),
        seen("the program, its constants and shapes", Form::Public, None, "once"),
        seen("sizes and times of messages, the same whatever the data", Form::Public, None, "per update"),
    ];
    if !plan.carried.is_empty() {
        sees.push(seen("the states, which it carries from update to update", Form::Ciphertext, None, "once"));
    }
    for public in &plan.public {
        sees.push(seen(format!("the values of `{}`", public.name), Form::Public, None, "once"));
    }
    Flow { sees, secret: secret(&plan.client, !plan.states.is_empty()), agreement: None }
}

/// Arrays that only the client has.
fn secret(client: &ClearProgram, trains: bool) -> Vec<String> {
    let arrays = client.nodes.iter().filter_map(|node| match &node.op {
        ClearOp::Batch { name, .. } => Some(name.clone()),
        _ => None,
    });
    let mut arrays: Vec<String> = arrays.collect();
    arrays.sort_unstable();
    arrays.dedup();
    if trains {
        arrays.extend(["weights".to_owned(), "gradients".to_owned()]);
    }
    arrays
}
