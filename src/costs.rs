//! The table of costs that predictions use: a named file, the one measured by this user, or the built-in one.

use std::borrow::Cow;
use std::path::{Path, PathBuf};

use hecc_plan::cost::CostTable;

use crate::failure::Failure;

/// Where `hecc calibrate` leaves this user's table.
pub fn user_file() -> Option<PathBuf> {
    directories::ProjectDirs::from("", "", "hecc").map(|dirs| dirs.data_dir().join("costs.json"))
}

/// The table in `named`, or the user's, or the built-in one.
///
/// # Errors
/// If the file cannot be read, or is no table of this version.
pub fn table(named: Option<&Path>) -> Result<Cow<'static, CostTable>, Failure> {
    let own = || user_file().filter(|path| path.exists());
    let Some(path) = named.map(Path::to_path_buf).or_else(own) else { return Ok(Cow::Borrowed(CostTable::built_in())) };
    let bytes = std::fs::read(&path).map_err(|error| Failure::file("read", &path, error))?;
    CostTable::read(&bytes).map(Cow::Owned).map_err(|error| Failure::table(&path, &error))
}

/// Most memory that this process has held, in bytes; `None` where the system does not tell.
pub fn peak_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib << 10)
}
