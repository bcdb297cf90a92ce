use std::ffi::OsString;

use clap::{
    Args, CommandFactory as _, Parser, Subcommand, ValueEnum,
    builder::{OsStringValueParser, TypedValueParser},
    error::ErrorKind,
};
use daee_artifact::ArtifactCid;
use daee_types::{ArtifactHash, StateRoot};

use crate::input::Input;

/// Judge manifests, artifacts, packages, signatures, upgrades and recordings with one exit code.
///
/// Works offline. Exit codes: 0 verified, 1 findings, 2 could not run.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
    /// How to write the verdict
    #[arg(long, global = true, value_enum, default_value_t)]
    pub format: Format,
    /// Levels of rules, signers and bounds, as TOML
    #[arg(long, global = true, value_name = "FILE", value_parser = input())]
    pub policy: Option<Input>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people: each finding with the line it is about
    #[default]
    Text,
    /// For scripts: one JSON object
    Json,
    /// For code scanning: SARIF 2.1.0
    Sarif,
    /// For test reports: JUnit's XML, one case for each rule
    Junit,
    /// For GitHub's runner: commands that annotate the lines
    Github,
}

/// How far the agent is kept from this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Isolation {
    /// In a jailed process of its own, as on a node
    #[default]
    Process,
    /// In this process: where no such process can be had
    Thread,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Judge an agent.yaml
    Manifest {
        /// The manifest, or - for standard input
        #[arg(value_parser = input())]
        file: Input,
    },
    /// Judge a WebAssembly file: its hash, and whether nodes can run it
    Artifact {
        /// The module, or a CAR with it alone, or - for standard input
        #[arg(value_parser = input())]
        file: Input,
        #[command(flatten)]
        expected: Expected,
    },
    /// Judge a package: its blocks, its manifest, its artifact, and whether they belong together
    Package {
        /// The .car file, or - for standard input
        #[arg(value_parser = input())]
        file: Input,
        /// Who signed it; beside the package, NAME.sig.json is found
        #[arg(long, value_name = "FILE", value_parser = input())]
        signatures: Option<Input>,
    },
    /// Judge who signed a package
    Signature {
        /// The .car file; with --cid, the agent.yaml
        #[arg(value_parser = input())]
        file: Input,
        /// The signatures; without, NAME.sig.json beside the first
        #[arg(value_parser = input())]
        signatures: Option<Input>,
        /// CID of the artifact, where it is not at hand
        #[arg(long)]
        cid: Option<ArtifactCid>,
    },
    /// Judge an upgrade: what the new version may and needs that the old one did not
    Diff {
        /// The agent.yaml or the .car file that runs
        #[arg(value_parser = input())]
        old: Input,
        /// The one that is to take its place
        #[arg(value_parser = input())]
        new: Input,
    },
    /// Judge a recording by running it again: answers, log, state and fuel have to come out the same
    Run {
        /// The .car file that was deployed
        #[arg(value_parser = input())]
        package: Input,
        /// The .run file, as `daee-deploy record` fetches it
        #[arg(value_parser = input())]
        recording: Input,
        /// Where the agent runs meanwhile
        #[arg(long, value_enum, default_value_t)]
        isolation: Isolation,
        /// The state root that it has to lead to; given twice, first the one that it has to begin with
        #[arg(long, value_name = "ROOT")]
        expect_state_root: Vec<StateRoot>,
    },
    /// List all rules
    Rules,
    /// Explain a rule
    Explain {
        /// Its id or name, as DAEE-M003 or unknown-key
        rule: String,
    },
    /// Print the JSON Schema of agent.yaml, for editors
    Schema,
}

/// What the artifact is to be.
#[derive(Args, Debug)]
pub struct Expected {
    /// Its SHA-256, 64 hex digits
    #[arg(long, value_name = "HASH", value_parser = hash)]
    pub hash: Option<ArtifactHash>,
    /// The agent.yaml that names it and says how it runs
    #[arg(long, value_name = "FILE", value_parser = input())]
    pub manifest: Option<Input>,
    /// Its CID: of one raw block up to 1 MiB, of a unixfs-v1-2025 file above
    #[arg(long)]
    pub cid: Option<ArtifactCid>,
    /// Tell its BLAKE3, too
    #[arg(long)]
    pub blake3: bool,
}

impl Arguments {
    /// Exits with a usage error if standard input would have to be two things, or a format says nothing
    /// of what is asked.
    pub fn checked(self) -> Self {
        let inputs = match &self.command {
            Command::Manifest { file } => [Some(file), None],
            Command::Artifact { file, expected } => [Some(file), expected.manifest.as_ref()],
            Command::Package { file, signatures } => [Some(file), signatures.as_ref()],
            Command::Signature { file, signatures, .. } => [Some(file), signatures.as_ref()],
            Command::Diff { old, new } => [Some(old), Some(new)],
            Command::Run { package, recording, .. } => [Some(package), Some(recording)],
            Command::Rules | Command::Explain { .. } | Command::Schema => [None, None],
        };
        let all = inputs.into_iter().flatten().chain(&self.policy);
        if all.filter(|input| **input == Input::Stdin).count() > 1 {
            refuse(ErrorKind::ArgumentConflict, "standard input cannot be two things at once");
        }
        if matches!(&self.command, Command::Run { expect_state_root, .. } if expect_state_root.len() > 2)
        {
            refuse(ErrorKind::TooManyValues, "--expect-state-root is given twice at most");
        }
        let no_verdict = inputs == [None, None];
        if no_verdict && !matches!(self.format, Format::Text | Format::Json) {
            refuse(ErrorKind::ArgumentConflict, "there is no verdict here: --format text or json");
        }
        self
    }
}

/// Ends the program as wrong arguments do.
pub fn refuse(kind: ErrorKind, message: impl std::fmt::Display) -> ! {
    Arguments::command().error(kind, message).exit()
}

/// Paths need not be text.
fn input() -> impl TypedValueParser<Value = Input> {
    OsStringValueParser::new().map(|path: OsString| Input::from(path))
}

fn hash(text: &str) -> Result<ArtifactHash, daee_types::HashError> {
    text.strip_prefix("sha256:").unwrap_or(text).parse()
}
