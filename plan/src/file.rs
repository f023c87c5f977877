//! Plan files: one JSON document with a magic word and a version.

use serde::{Deserialize, Serialize};

use crate::{Plan, tfhe};

/// Version of the plan format; a reader accepts its own.
/// Version 2 may hold the plan by which the server acts, without which such a training would be another; version 3 layouts with gaps,
/// without which tensors would stand elsewhere.
pub const VERSION: u32 = 3;
const MAGIC: &str = "hecc-plan";
/// Larger files are refused before they are parsed.
const LARGEST_BYTES: usize = 256 << 20;

#[derive(Serialize)]
struct FileRef<'a> {
    magic: &'static str,
    version: u32,
    plan: &'a Plan,
}

#[derive(Deserialize)]
struct Header {
    magic: Option<String>,
    version: Option<u32>,
}

#[derive(Serialize)]
struct TfheFileRef<'a> {
    magic: &'static str,
    version: u32,
    tfhe: &'a tfhe::Plan,
}

#[derive(Deserialize)]
struct File {
    plan: Option<Plan>,
    tfhe: Option<tfhe::Plan>,
}

/// A plan of either scheme.
#[derive(Clone, Debug, PartialEq)]
pub enum AnyPlan {
    /// Approximate arithmetic on slots.
    Ckks(Box<Plan>),
    /// Exact integers.
    Tfhe(Box<tfhe::Plan>),
}

/// Why a plan file was refused.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// HE0511.
    #[error("this is not a plan file; `hecc compile FILE.rl -o FILE.plan` writes one")]
    NotAPlan,
    /// HE0512.
    #[error("this plan has format version {0}, and this hecc reads version {VERSION}; compile the program again")]
    Version(u32),
    /// HE0513.
    #[error("the plan file is damaged: {0}")]
    Damaged(String),
    /// HE0514.
    #[error("the plan is inconsistent: {}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Inconsistent(Vec<crate::check::PlanError>),
}

impl PlanFileError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            PlanFileError::NotAPlan => "HE0511",
            PlanFileError::Version(_) => "HE0512",
            PlanFileError::Damaged(_) => "HE0513",
            PlanFileError::Inconsistent(errors) => errors.first().map_or("HE0514", crate::check::PlanError::code),
        }
    }
}

/// Writes `plan` as text, the same bytes for the same plan.
pub fn write(plan: &Plan) -> String {
    let mut text =
        serde_json::to_string(&FileRef { magic: MAGIC, version: VERSION, plan }).expect("a plan has only string keys and finite numbers");
    text.push('\n');
    text
}

/// Writes a TFHE plan as text, the same bytes for the same plan.
pub fn write_tfhe(plan: &tfhe::Plan) -> String {
    let file = TfheFileRef { magic: MAGIC, version: VERSION, tfhe: plan };
    let mut text = serde_json::to_string(&file).expect("a plan has only string keys and finite numbers");
    text.push('\n');
    text
}

/// Reads and checks a plan of CKKS.
///
/// # Errors
/// [`PlanFileError`], also for a plan of the other scheme.
pub fn read(text: &[u8]) -> Result<Plan, PlanFileError> {
    match read_any(text)? {
        AnyPlan::Ckks(plan) => Ok(*plan),
        AnyPlan::Tfhe(_) => Err(PlanFileError::Damaged("it is a plan of TFHE".to_owned())),
    }
}

/// Reads and checks a plan of either scheme.
///
/// # Errors
/// [`PlanFileError`].
pub fn read_any(text: &[u8]) -> Result<AnyPlan, PlanFileError> {
    if text.len() > LARGEST_BYTES {
        return Err(PlanFileError::Damaged(format!("{} bytes are more than a plan can have", text.len())));
    }
    let header: Header = serde_json::from_slice(text).map_err(|error| {
        if text.starts_with(br#"{"magic":"hecc-plan""#) { PlanFileError::Damaged(error.to_string()) } else { PlanFileError::NotAPlan }
    })?;
    match (header.magic.as_deref(), header.version) {
        (Some(MAGIC), Some(VERSION)) => {}
        (Some(MAGIC), Some(version)) => return Err(PlanFileError::Version(version)),
        _ => return Err(PlanFileError::NotAPlan),
    }
    let file: File = serde_json::from_slice(text).map_err(|error| PlanFileError::Damaged(error.to_string()))?;
    match file {
        File { plan: Some(plan), tfhe: None } => {
            crate::check::check(&plan).map_err(PlanFileError::Inconsistent)?;
            Ok(AnyPlan::Ckks(Box::new(plan)))
        }
        File { plan: None, tfhe: Some(plan) } => {
            tfhe::check::check(&plan).map_err(PlanFileError::Inconsistent)?;
            Ok(AnyPlan::Tfhe(Box::new(plan)))
        }
        File { .. } => Err(PlanFileError::Damaged("it holds no plan, or two".to_owned())),
    }
}

/// A short hash of what keys and ciphertexts depend on: parameters, grid, key manifest, bootstrap and carried ciphertexts. Data of another fingerprint is refused.
pub fn fingerprint(plan: &Plan) -> u64 {
    let text = serde_json::to_string(&(&plan.ckks, &plan.geometry, &plan.keys, &plan.bootstrap, &plan.carried))
        .expect("parameters have only string keys");
    hash(&text)
}

/// The same of a TFHE plan: parameters, and the vectors that cross.
pub fn fingerprint_tfhe(plan: &tfhe::Plan) -> u64 {
    let crossing = |wire: &tfhe::WireId| plan.steps[wire.index()].wire;
    let outputs: Vec<_> = plan.outputs.iter().map(|output| crossing(&output.wire)).collect();
    let inputs: Vec<_> = plan.steps.iter().filter(|step| matches!(step.op, tfhe::Op::Input(_))).collect();
    hash(&serde_json::to_string(&(&plan.parameters, inputs, outputs, &plan.parcels)).expect("parameters have only string keys"))
}

/// FNV-1a.
pub(crate) fn hash(text: &str) -> u64 {
    // FNV-1a: the fingerprint tells plans apart, it is no protection against a forger.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}
