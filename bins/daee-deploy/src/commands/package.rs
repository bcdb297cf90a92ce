use std::path::Path;

use daee_client::{ClientError, Finding, Market, Package, PackageError, Packed, Taken};
use daee_http::{Client, Roots};
use serde::Serialize;

use crate::{access::Access, failure::Failure, show::Out};

/// What a package is, for whoever writes it down.
#[derive(Serialize)]
pub struct Facts {
    pub agent_id: String,
    pub artifact_hash: String,
    pub cid: String,
    pub body_hash: String,
    pub manifest_hash: String,
    pub bytes: u32,
}

impl Facts {
    pub fn of(package: &Package) -> Self {
        let manifest = package.manifest();
        Self {
            agent_id: manifest.agent_id().to_string(),
            artifact_hash: package.artifact().hash().to_string(),
            cid: package.artifact().cid().to_string(),
            body_hash: package.body_hash().to_string(),
            manifest_hash: manifest.manifest_hash().to_string(),
            bytes: package.artifact_bytes(),
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

pub fn pack(out: &Out, path: &Path, to: Option<&Path>) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        facts: Facts,
        file: String,
        filled: bool,
    }
    let Packed { package, filled, file } = Package::pack(path, to)?;
    let shown = Shown { facts: Facts::of(&package), file: file.display().to_string(), filled };
    if filled {
        out.progress("written", "artifact_hash in the manifest is the module's now");
    }
    out.result(&shown, |text| {
        for (name, value) in shown.facts.rows() {
            text.fact(name, value)?;
        }
        text.fact("file", &shown.file)
    })?;
    Ok(0)
}

pub fn check(out: &Out, path: &Path) -> Result<u8, Failure> {
    // The same shape as that of daee-verify.
    #[derive(Serialize)]
    struct Shown<'a> {
        verdict: &'static str,
        findings: &'a [Finding],
        facts: Option<Facts>,
    }
    match Package::read(path) {
        Ok(package) => {
            let facts = Some(Facts::of(&package));
            let shown = Shown { verdict: "verified", findings: &[], facts };
            out.result(&shown, |text| {
                for (name, value) in shown.facts.iter().flat_map(Facts::rows) {
                    text.fact(name, value)?;
                }
                text.good(shown.verdict)
            })?;
            Ok(0)
        }
        Err(PackageError::Wrong { file, findings }) => {
            let shown = Shown { verdict: "findings", findings: &findings, facts: None };
            out.result(&shown, |text| {
                for finding in &findings {
                    text.line(&format!("{}:{finding}", file.display()))?;
                }
                Ok(())
            })?;
            Ok(1)
        }
        Err(error) => Err(error.into()),
    }
}

pub async fn publish(
    out: &Out,
    access: &Access,
    path: &Path,
    nodes: &[String],
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown {
        #[serde(flatten)]
        facts: Facts,
        #[serde(flatten)]
        taken: TakenShown,
    }
    let package = Package::read(path)?;
    let taken = if nodes.is_empty() {
        hand_out(out, &access.market().await?, &package, nodes).await?
    } else {
        let http = Client::new(&Roots::system()).map_err(ClientError::from)?;
        daee_client::publish(&http, &package, nodes).await?
    };
    let shown = Shown { facts: Facts::of(&package), taken: TakenShown::of(&taken) };
    out.result(&shown, |text| {
        text.fact("cid", &shown.facts.cid)?;
        for node in &shown.taken.published {
            text.fact("published", node)?;
        }
        for refusal in &shown.taken.refused {
            text.fact("refused", refusal)?;
        }
        Ok(())
    })?;
    Ok(0)
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
