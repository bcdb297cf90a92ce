use clap::{Args, CommandFactory as _, Parser, Subcommand, ValueEnum, error::ErrorKind};
use daee_artifact::Cid;
use daee_types::ArtifactHash;

use crate::input::Input;

/// Judge manifests, artifacts and packages with one exit code.
///
/// Works offline. Exit codes: 0 verified, 1 findings, 2 could not run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub subject: Subject,
    /// How to write the verdict
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
}

impl Arguments {
    /// Exits with a usage error if standard input would have to be two things.
    pub fn checked(self) -> Self {
        if let Subject::Artifact { file: Input::Stdin, expected } = &self.subject
            && expected.manifest == Some(Input::Stdin)
        {
            let message = "artifact and manifest cannot both come from standard input";
            Self::command().error(ErrorKind::ArgumentConflict, message).exit()
        }
        self
    }
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
pub enum Format {
    /// For people: each finding with the line it is about
    #[default]
    Text,
    /// For scripts: one JSON object
    Json,
}

#[derive(Debug, Subcommand)]
pub enum Subject {
    /// Judge an agent.yaml
    Manifest {
        /// The manifest, or - for standard input
        file: Input,
    },
    /// Judge a WebAssembly file: its hash, and whether nodes can run it
    Artifact {
        /// The module, or - for standard input
        file: Input,
        #[command(flatten)]
        expected: Expected,
    },
    /// Judge a package: its blocks, its manifest, its artifact, and whether they belong together
    Package {
        /// The .car file, or - for standard input
        file: Input,
    },
}

/// What the artifact is to be.
#[derive(Args, Debug)]
#[group(multiple = false)]
pub struct Expected {
    /// Its SHA-256, 64 hex digits
    #[arg(long, value_name = "HASH", value_parser = hash)]
    pub hash: Option<ArtifactHash>,
    /// The agent.yaml that names it and says how it runs
    #[arg(long, value_name = "FILE")]
    pub manifest: Option<Input>,
    /// Its CID as one raw block
    #[arg(long)]
    pub cid: Option<Cid>,
}

fn hash(text: &str) -> Result<ArtifactHash, daee_types::HashError> {
    text.strip_prefix("sha256:").unwrap_or(text).parse()
}
