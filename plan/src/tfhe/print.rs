//! A TFHE plan as text, for people.

use std::fmt::Write;

use super::{Op, Plan, Row, Step};

/// Prints `plan`: parameters, vectors and steps, the same text for the same plan.
pub fn print(plan: &Plan) -> String {
    let mut text = String::new();
    // Writing to a String cannot fail.
    let _ = write_plan(plan, &mut text);
    text
}

fn write_plan(plan: &Plan, out: &mut String) -> std::fmt::Result {
    writeln!(out, "plan {} (source {})", plan.name, plan.source)?;
    writeln!(out, "tfhe security={} failure=2^{} batch={}", plan.parameters.security_bits, plan.log2_failure, plan.batch)?;
    for (index, ring) in plan.parameters.rings.iter().enumerate() {
        writeln!(out, "ring {index}: {} polynomials of degree {}", ring.dimension, ring.degree())?;
    }
    for (index, lookup) in plan.parameters.lookups.iter().enumerate() {
        let (switch, rotation) = (lookup.switch, lookup.rotation);
        writeln!(
            out,
            "lookup {index}: ring {} -> small key of {} ({} x {} bits) -> ring {} ({} x {} bits)",
            lookup.from.0, lookup.small, switch.levels, switch.base_log, lookup.to.0, rotation.levels, rotation.base_log
        )?;
    }
    for (index, switch) in plan.parameters.switches.iter().enumerate() {
        let decomposition = switch.decomposition;
        writeln!(
            out,
            "switch {index}: ring {} -> ring {} ({} x {} bits)",
            switch.from.0, switch.to.0, decomposition.levels, decomposition.base_log
        )?;
    }
    for note in &plan.notes {
        writeln!(out, "note {note}")?;
    }
    for public in &plan.public {
        writeln!(out, "public {} {:?}", public.name, public.shape)?;
    }
    for state in &plan.states {
        writeln!(out, "state {} {:?} = {:?}", state.name, state.shape, state.init)?;
    }
    for (index, node) in plan.client.nodes.iter().enumerate() {
        writeln!(out, "client c{index} = {:?}", node.op)?;
    }
    for (index, input) in plan.inputs.iter().enumerate() {
        writeln!(out, "input i{index} \"{}\" = c{} / {}", input.label, input.tensor.0, input.scale)?;
    }
    for (index, table) in plan.tables.iter().enumerate() {
        writeln!(out, "table t{index} = {:?}", table.values)?;
    }
    for (index, step) in plan.steps.iter().enumerate() {
        let wire = step.wire;
        writeln!(out, "%{index} [{}] {}..{} bits={} ring={} = {}", wire.len, wire.low, wire.high, wire.bits, wire.ring.0, op(step))?;
    }
    for (index, packing) in plan.parameters.packings.iter().enumerate() {
        let decomposition = packing.decomposition;
        writeln!(
            out,
            "packing {index}: ring {} -> {} polynomials of degree {} ({} x {} bits)",
            packing.from.0,
            packing.to.dimension,
            packing.to.degree(),
            decomposition.levels,
            decomposition.base_log
        )?;
    }
    for (index, carried) in plan.carried.iter().enumerate() {
        writeln!(out, "carried k{index} {} = %{} * {}", carried.state, carried.wire.0, carried.scale)?;
    }
    for output in &plan.outputs {
        writeln!(out, "output {:?} {:?} = %{} * {}", output.target, output.shape, output.wire.0, output.scale)?;
    }
    for parcel in &plan.parcels {
        let packing = parcel.packing.map_or(String::new(), |id| format!(" packed by {}", id.0));
        writeln!(out, "parcel {:?} modulus=2^{}{packing}", parcel.outputs, parcel.log_modulus)?;
    }
    if let Some(served) = plan.training.as_ref().and_then(|training| training.served.as_deref()) {
        writeln!(out, "the server acts by this plan:")?;
        write_plan(served, out)?;
    }
    Ok(())
}

fn op(step: &Step) -> String {
    match &step.op {
        Op::Input(id) => format!("input i{}", id.0),
        Op::Carried(id) => format!("carried k{}", id.0),
        Op::Affine { operands, rows } => {
            let names: Vec<String> = operands.iter().map(|o| format!("%{}", o.0)).collect();
            let text: Vec<String> = rows.iter().map(row).collect();
            format!("affine {}: {}", names.join(" "), text.join("; "))
        }
        Op::Table { a, tables, lookup } => {
            let names: Vec<String> = tables.iter().map(|t| format!("t{}", t.0)).collect();
            format!("table %{} {} by lookup {}", a.0, names.join(" "), lookup.0)
        }
        Op::Floor { a, drop, lookup } => format!("floor %{} / 2^{drop} by lookup {}", a.0, lookup.0),
        Op::Rest { operands: [a, floor] } => format!("rest %{} beyond %{}", a.0, floor.0),
        Op::Sign { a, no, yes, lookup } => format!("sign %{} {no} or {yes} by lookup {}", a.0, lookup.0),
        Op::Switch { a, switch } => format!("switch %{} by {}", a.0, switch.0),
    }
}

fn row(row: &Row) -> String {
    let mut parts: Vec<String> = row.terms.iter().map(|(o, e, c)| format!("{c}*{o}.{e}")).collect();
    if row.constant != 0 || parts.is_empty() {
        parts.push(row.constant.to_string());
    }
    parts.join(" + ")
}
