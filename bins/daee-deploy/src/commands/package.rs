use std::{fs, io::Read as _, path::Path};

use daee_client::{Brought, Market, Package, Packed, Parcel, Taken};
use daee_verdict::{Group, POLICY_BYTES_MAX, Policy, Report};
use serde::Serialize;

use crate::{failure::Failure, show::Out};

/// What a package is, for whoever writes it down.
#[derive(Serialize)]
pub struct Facts {
    pub agent_id: String,
    pub artifact_hash: String,
    pub cid: String,
    pub body_hash: String,
    pub manifest_hash: String,
    pub bytes: u64,
}

impl Facts {
    pub fn of(parcel: &Parcel) -> Self {
        let manifest = parcel.manifest();
        Self {
            agent_id: manifest.agent_id().to_string(),
            artifact_hash: parcel.artifact_hash().to_string(),
            cid: parcel.cid().to_string(),
            body_hash: parcel.body_hash().to_string(),
            manifest_hash: manifest.manifest_hash().to_string(),
            bytes: parcel.artifact_bytes(),
        }
    }

    fn rows(&self) -> [(&'static str, String); 6] {
        [
            ("agent_id", self.agent_id.clone()),
            ("artifact_hash", self.artifact_hash.clone()),
            ("cid", self.cid.clone()),
            ("body_hash", self.body_hash.clone()),
            ("manifest_hash", self.manifest_hash.clone()),
            ("bytes", self.bytes.to_string()),
        ]
    }
}

/// Nodes that took a package, and what the others did.
#[derive(Serialize)]
pub struct TakenShown {
    pub published: Vec<String>,
    pub refused: Vec<String>,
}

impl TakenShown {
    pub fn of(taken: &Taken) -> Self {
        Self {
            published: taken.nodes.clone(),
            refused: taken.refused.iter().map(ToString::to_string).collect(),
        }
    }
}

pub fn pack(
    out: &Out,
    path: &Path,
    to: Option<&Path>,
    files: Option<&Path>,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        facts: Facts,
        file: String,
        filled: bool,
    }
    if let Some(folder) = files {
        let Brought { files, bytes } = daee_client::bring(path, folder)?;
        out.progress("brought", &format!("{files} files of {bytes} are in the module now"));
    }
    let Packed { package, filled, file } = Parcel::pack(path, to)?;
    let shown = Shown { facts: Facts::of(&package), file: file.display().to_string(), filled };
    if filled {
        out.progress("written", "hash and CID in the manifest are the artifact's now");
    }
    out.result(&shown, |text| {
        for (name, value) in shown.facts.rows() {
            text.fact(name, value)?;
        }
        text.fact("file", &shown.file)
    })?;
    Ok(0)
}

/// The verdict of daee-verify, in its words and its JSON.
pub fn check(out: &Out, path: &Path, policy: Option<&Path>) -> Result<u8, Failure> {
    let report = match policy.map(read_policy).transpose() {
        Ok(policy) => daee_client::check(path, &policy.unwrap_or_default()),
        Err(report) => *report,
    };
    out.verdict(&report)?;
    Ok(report.verdict().exit_code())
}

/// A policy, or the report that says why there is none.
fn read_policy(file: &Path) -> Result<Policy, Box<Report>> {
    let mut report = Box::new(Report::new(Group::Program, file.into()));
    let read = fs::File::open(file).and_then(|open| {
        let mut bytes = Vec::new();
        open.take(POLICY_BYTES_MAX as u64 + 1).read_to_end(&mut bytes).map(|_| bytes)
    });
    match read.map(|bytes| Policy::read(&bytes)) {
        Ok(Ok(policy)) => return Ok(policy),
        Ok(Err(error)) => report.refuse_policy(&file.into(), &error),
        Err(error) => report.fail(format_args!("{} cannot be read: {error}", file.display())),
    }
    Err(report)
}

/// Publishes to these nodes, or to the network's where none is named, and says so.
pub async fn hand_out(
    out: &Out,
    market: &Market,
    package: &Package,
    nodes: &[String],
) -> Result<Taken, Failure> {
    let nodes = if nodes.is_empty() { market.gateways().await? } else { nodes.to_vec() };
    let taken = market.publish(package, &nodes).await?;
    let (took, all) = (taken.nodes.len(), nodes.len());
    let noun = if all == 1 { "node" } else { "nodes" };
    out.progress("published", &format!("to {took} of {all} {noun}"));
    for refusal in &taken.refused {
        out.progress("", &refusal.to_string());
    }
    Ok(taken)
}
