//! The workspace as `cargo metadata` describes it.

use core::fmt;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The packages of this workspace and everything they depend on.
#[derive(Debug)]
pub(crate) struct Workspace {
    /// Where the root `Cargo.toml` lies.
    pub(crate) root: PathBuf,
    /// Where cargo builds.
    pub(crate) target: PathBuf,
    /// Our own packages, by name.
    pub(crate) members: BTreeMap<String, Package>,
    /// Everyone else's, as resolved for this lock file.
    pub(crate) externals: Vec<Package>,
}

/// One package, ours or not.
#[derive(Clone, Debug, Default, Deserialize)]
pub(crate) struct Package {
    pub(crate) name: String,
    pub(crate) version: String,
    #[serde(default)]
    pub(crate) id: String,
    #[serde(default)]
    pub(crate) description: Option<String>,
    #[serde(default)]
    pub(crate) license: Option<String>,
    #[serde(default)]
    pub(crate) manifest_path: PathBuf,
    #[serde(default)]
    pub(crate) dependencies: Vec<Dependency>,
    #[serde(default)]
    pub(crate) features: BTreeMap<String, Vec<String>>,
    #[serde(default)]
    pub(crate) targets: Vec<Target>,
}

/// One line of a `[dependencies]` table.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Dependency {
    pub(crate) name: String,
    /// `None` for a normal dependency, else `dev` or `build`.
    #[serde(default)]
    pub(crate) kind: Option<String>,
    /// Set for a dependency on another room of the house.
    #[serde(default)]
    pub(crate) path: Option<PathBuf>,
}

/// One thing cargo builds of a package.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Target {
    pub(crate) name: String,
    pub(crate) kind: Vec<String>,
    pub(crate) src_path: PathBuf,
}

impl Target {
    /// Is this a library or a program, whose first file speaks for its crate?
    pub(crate) fn is_crate_root(&self) -> bool {
        self.kind.iter().any(|kind| kind == "lib" || kind == "bin")
    }
}

impl Package {
    /// The directory of the package, relative to `root`, with forward slashes.
    pub(crate) fn directory(&self, root: &Path) -> String {
        let directory = self.manifest_path.parent().unwrap_or(&self.manifest_path);
        directory.strip_prefix(root).unwrap_or(directory).to_string_lossy().into_owned()
    }

    /// The program of that name, if the package has one.
    pub(crate) fn has_program(&self, name: &str) -> bool {
        self.targets.iter().any(|target| target.name == name && target.kind.iter().any(|kind| kind == "bin"))
    }
}

/// Why the workspace could not be read.
#[derive(Debug)]
pub(crate) enum Unreadable {
    /// Cargo could not be started.
    Start(std::io::Error),
    /// Cargo refused: a manifest is wrong, or a dependency cannot be had.
    Refused(String),
    /// Cargo's answer is not what this program understands.
    Answer(serde_json::Error),
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Start(error) => write!(f, "cannot start cargo: {error}"),
            Self::Refused(text) => write!(f, "cargo metadata failed:\n{}", text.trim_end()),
            Self::Answer(error) => write!(f, "cannot read the answer of cargo metadata: {error}"),
        }
    }
}

impl core::error::Error for Unreadable {}

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: BTreeSet<String>,
    workspace_root: PathBuf,
    target_directory: PathBuf,
}

impl Workspace {
    /// Asks cargo.
    ///
    /// # Errors
    /// Cargo is missing, or a manifest is wrong.
    pub(crate) fn load() -> Result<Self, Unreadable> {
        let output = cargo()
            .args(["metadata", "--format-version", "1"])
            .current_dir(env!("CARGO_MANIFEST_DIR"))
            .output()
            .map_err(Unreadable::Start)?;
        if !output.status.success() {
            return Err(Unreadable::Refused(String::from_utf8_lossy(&output.stderr).into_owned()));
        }
        let metadata: Metadata = serde_json::from_slice(&output.stdout).map_err(Unreadable::Answer)?;
        let (members, externals): (Vec<_>, Vec<_>) = metadata
            .packages
            .into_iter()
            .partition(|package| metadata.workspace_members.contains(&package.id));
        Ok(Self {
            root: metadata.workspace_root,
            target: metadata.target_directory,
            members: members.into_iter().map(|package| (package.name.clone(), package)).collect(),
            externals,
        })
    }

    /// Cargo, in the root of the workspace.
    pub(crate) fn cargo(&self, arguments: &[&str]) -> Command {
        let mut command = cargo();
        // A test's own words are enough; where it stood is in them.
        command
            .current_dir(&self.root)
            .args(arguments)
            .env("RUST_BACKTRACE", "0")
            .env("CARGO_TERM_COLOR", "never");
        command
    }

    /// Does the workspace have a package of this name with a program of that name?
    pub(crate) fn has_program(&self, package: &str, program: &str) -> bool {
        self.members.get(package).is_some_and(|package| package.has_program(program))
    }
}

/// The cargo that runs us, so that a pinned toolchain stays pinned.
fn cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}
