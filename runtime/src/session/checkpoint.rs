//! Checkpoints: everything that a run needs to go on as if it had never stopped.
//!
//! A file is a magic word, a version, a checksum, and a safetensors document whose note holds the numbers that are no
//! arrays. It holds decrypted weights and transitions: only its owner may read it.

use std::io;
use std::path::{Path, PathBuf};

use hecc_plan::{Tensor, Tensors};
use serde::{Deserialize, Serialize};

use super::collect::CollectorState;
use super::curve::Point;
use super::store::{self, Access};
use crate::arrays;

/// Name of the checkpoint in a run's folder.
pub const FILE: &str = "checkpoint";
const MAGIC: &[u8; 16] = b"hecc-checkpoint\n";
const VERSION: u32 = 1;
const HEADER: usize = MAGIC.len() + 8;
const NOTE: &str = "hecc";

/// A run, stopped between two updates.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// The numbers that are no arrays.
    pub notes: Notes,
    /// The carried states.
    pub states: Tensors,
    /// Rows of the replay.
    pub replay: Vec<f64>,
}

/// What a checkpoint says besides its arrays.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Notes {
    /// The plan's [`hecc_plan::Interface::fingerprint`].
    pub plan: u64,
    /// The environment and the algorithm, for messages.
    pub name: String,
    /// What carries the values, as the command names it.
    pub backend: String,
    /// The run's seed.
    pub seed: u64,
    /// Updates done.
    pub updates: usize,
    /// How far the stream of batches was read.
    pub batches: u64,
    /// How far the stream of noise was read.
    pub noise: u64,
    /// The environments of an online run.
    pub collector: Option<CollectorState>,
    /// The replay's next position.
    pub next: usize,
    /// What the run has cost and reached.
    pub totals: Totals,
    /// What its evaluations found.
    #[serde(default)]
    pub curve: Vec<Point>,
}

/// What a run has cost and reached so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Totals {
    /// Seconds in updates.
    pub seconds: f64,
    /// Ciphertext bytes, client to server.
    pub bytes_to_server: u64,
    /// Ciphertext bytes, server to client.
    pub bytes_to_client: u64,
    /// Mean return of the last evaluation.
    pub last_return: Option<f64>,
    /// Mean return of the best evaluation.
    pub best_return: Option<f64>,
    /// What acting took, where the server acts.
    #[serde(default)]
    pub acting: Acted,
}

/// What acting through the server has taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Acted {
    /// Actions that the server chose.
    pub actions: u64,
    /// Times that the client encrypted weights anew.
    pub boundaries: u64,
    /// Seconds of both.
    pub seconds: f64,
    /// Bytes of weights and observations.
    pub bytes_to_server: u64,
    /// Bytes of actions.
    pub bytes_to_client: u64,
}

impl Acted {
    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            actions: self.actions + other.actions,
            boundaries: self.boundaries + other.boundaries,
            seconds: self.seconds + other.seconds,
            bytes_to_server: self.bytes_to_server + other.bytes_to_server,
            bytes_to_client: self.bytes_to_client + other.bytes_to_client,
        }
    }

    /// Seconds of one action; `None` before the first.
    pub fn per_action(&self) -> Option<f64> {
        (self.actions > 0).then(|| self.seconds / self.actions as f64)
    }
}

/// Why a checkpoint was refused or could not be written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// HE0661.
    #[error("{path} is not a checkpoint")]
    NotACheckpoint {
        /// Which file.
        path: PathBuf,
    },
    /// HE0662.
    #[error("{path} has checkpoint version {version}, and this hecc reads version {VERSION}")]
    Version {
        /// Which file.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// HE0663.
    #[error("{path} is damaged: {reason}")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// In what way.
        reason: String,
    },
    /// HE0664.
    #[error("{path} belongs to another program ({other}): its weights do not fit this one")]
    OtherPlan {
        /// Which file.
        path: PathBuf,
        /// What it was made by.
        other: String,
    },
    /// HE0665.
    #[error("{path} holds a run already; `--resume` continues it, another `--out` starts a new one")]
    Exists {
        /// Which file.
        path: PathBuf,
    },
    /// HE0666.
    #[error("cannot {action} {path}: {error}")]
    Io {
        /// `read` or `write`.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl CheckpointError {
    /// Its code.
    pub fn code(&self) -> &'static str {
        match self {
            CheckpointError::NotACheckpoint { .. } => "HE0661",
            CheckpointError::Version { .. } => "HE0662",
            CheckpointError::Damaged { .. } => "HE0663",
            CheckpointError::OtherPlan { .. } => "HE0664",
            CheckpointError::Exists { .. } => "HE0665",
            CheckpointError::Io { .. } => "HE0666",
        }
    }
}

impl Checkpoint {
    /// Reads the checkpoint in a run's folder.
    ///
    /// # Errors
    /// [`CheckpointError`].
    pub fn read(folder: &Path) -> Result<Self, CheckpointError> {
        let path = folder.join(FILE);
        let bytes = std::fs::read(&path).map_err(|error| CheckpointError::Io { action: "read", path: path.clone(), error })?;
        let damaged = |reason: &str| CheckpointError::Damaged { path: path.clone(), reason: reason.to_owned() };
        if !bytes.starts_with(MAGIC) {
            return Err(CheckpointError::NotACheckpoint { path });
        }
        let word = |at: usize| bytes.get(at..at + 4).and_then(|w| w.try_into().ok()).map(u32::from_le_bytes);
        let (Some(version), Some(checksum)) = (word(MAGIC.len()), word(MAGIC.len() + 4)) else {
            return Err(damaged("it ends early"));
        };
        if version != VERSION {
            return Err(CheckpointError::Version { path, version });
        }
        let body = &bytes[HEADER..];
        if crc32fast::hash(body) != checksum {
            return Err(damaged("its checksum does not match; it was cut off or changed"));
        }
        let refuse = |error: arrays::ArraysError| damaged(&error.to_string());
        let note = arrays::note(body, NOTE).map_err(refuse)?.ok_or_else(|| damaged("it lacks its notes"))?;
        let notes = serde_json::from_str(&note).map_err(|error| damaged(&error.to_string()))?;
        let mut checkpoint = Self { notes, states: Tensors::new(), replay: Vec::new() };
        for (name, tensor) in arrays::read(body).map_err(refuse)? {
            match name.split_once('/') {
                Some(("state", name)) => drop(checkpoint.states.insert(name.to_owned(), tensor)),
                _ if name == "replay" => checkpoint.replay = tensor.data,
                _ => return Err(damaged("it holds an unknown array")),
            }
        }
        Ok(checkpoint)
    }

    /// Writes the checkpoint in a run's folder, whole or not at all, and gives its path.
    ///
    /// # Errors
    /// [`CheckpointError::Io`].
    pub fn write(&self, folder: &Path) -> Result<PathBuf, CheckpointError> {
        let path = folder.join(FILE);
        let failed = |error: io::Error| CheckpointError::Io { action: "write", path: path.clone(), error };
        let mut tensors: Tensors = self.states.iter().map(|(name, tensor)| (format!("state/{name}"), tensor.clone())).collect();
        tensors.insert("replay".to_owned(), Tensor::new(vec![self.replay.len()], self.replay.clone()));
        let note = serde_json::to_string(&self.notes).map_err(|error| failed(error.into()))?;
        let body = arrays::write(&tensors, Some((NOTE, note))).map_err(|error| failed(io::Error::other(error)))?;
        let mut bytes = Vec::with_capacity(HEADER + body.len());
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&crc32fast::hash(&body).to_le_bytes());
        bytes.extend_from_slice(&body);
        store::private_folder(folder).map_err(failed)?;
        store::write(&path, &bytes, Access::Owner).map_err(failed)?;
        Ok(path)
    }

    /// Refuses a folder in which a run would be overwritten.
    ///
    /// # Errors
    /// [`CheckpointError::Exists`].
    pub fn vacant(folder: &Path) -> Result<(), CheckpointError> {
        let path = folder.join(FILE);
        if path.exists() { Err(CheckpointError::Exists { path }) } else { Ok(()) }
    }
}
