//! What a development network says when it is ready.

use std::path::Path;

use daee_chain::Contracts;
use daee_client::talos_per_hour;
use serde_json::json;

use crate::dev::{Deployed, NodeShown};

/// Everything there is to say.
pub struct Ready<'a> {
    pub rpc: String,
    pub contracts: Contracts,
    pub nodes: &'a [NodeShown],
    pub deployed: Option<Deployed>,
    pub dir: &'a Path,
    pub network: &'a Path,
    pub next: &'a Path,
    pub source: String,
}

impl Ready<'_> {
    pub fn print(&self, as_json: bool) {
        if as_json {
            println!("{}", self.json());
        } else {
            print!("{}", self.text());
        }
    }

    fn json(&self) -> serde_json::Value {
        let nodes: Vec<_> = self
            .nodes
            .iter()
            .map(|node| {
                json!({
                    "name": node.name,
                    "account": node.account,
                    "owner": node.owner,
                    "api": node.api,
                    "rate": node.rate,
                    "pid": node.pid,
                    "config": node.config,
                    "key": node.key,
                })
            })
            .collect();
        let deployed = self.deployed.as_ref();
        json!({
            "rpc": self.rpc,
            "manager": self.contracts.manager,
            "contracts": self.contracts,
            "nodes": nodes,
            "deployment": deployed.map(|deployed| deployed.id),
            "agent_id": deployed.map(|deployed| deployed.agent_id.as_str()),
            "endpoint": deployed.map(|deployed| deployed.endpoint.as_str()),
            "dir": self.dir,
            "network": self.network,
        })
    }

    fn text(&self) -> String {
        let mut out = String::from("\n");
        let mut line = |text: String| {
            out.push_str(text.trim_end());
            out.push('\n');
        };
        line(format!("{:<10}{:<24}{}", "WHAT", "WHERE", "IS"));
        line(format!(
            "{:<10}{:<24}EVM, manager {}",
            "chain",
            short(&self.rpc),
            self.contracts.manager
        ));
        for node in self.nodes {
            let runs =
                self.deployed.as_ref().filter(|deployed| deployed.node == Some(node.account));
            let is = match runs {
                Some(deployed) => {
                    format!("runs deployment {} for {}", deployed.id, talos_per_hour(deployed.rate))
                }
                None => format!("would run it for {}", talos_per_hour(node.rate)),
            };
            line(format!("{:<10}{:<24}{is}", node.name, short(&node.api)));
        }
        line(format!("{:<10}{:<24}{}", "prices", "", self.source));
        line(format!("{:<10}{:<24}{}", "data", "", self.dir.display()));
        let Some(deployed) = &self.deployed else {
            line("\nCtrl-C ends the network.".to_owned());
            return out;
        };
        line(format!("\n{} answers:\n", deployed.agent_id));
        line(format!("  curl {}price", deployed.endpoint));
        line("\nmanage it:\n".to_owned());
        let deploy = deploy_command();
        let dir = self.dir.display();
        let (id, next) = (deployed.id, self.next.display());
        let calls = [
            format!("status {id}"),
            format!("logs {id}"),
            format!("update {id} {next}"),
            format!("stop {id}"),
        ];
        for call in calls {
            line(pasted(&format!("{deploy} --dir {dir}"), &call));
        }
        line("\nCtrl-C ends the network.".to_owned());
        out
    }
}

/// A command as it can be pasted, broken where a terminal of 80 columns would break it elsewhere.
fn pasted(program: &str, call: &str) -> String {
    const COLUMNS: usize = 80;
    match program.len() + call.len() + 3 > COLUMNS {
        true => format!("  {program} \\\n    {call}"),
        false => format!("  {program} {call}"),
    }
}

fn short(url: &str) -> &str {
    url.strip_prefix("http://").unwrap_or(url)
}

/// How `daee-deploy` is called by whoever called this program: through cargo from a clone, by name otherwise.
fn deploy_command() -> &'static str {
    let built = std::env::current_exe()
        .is_ok_and(|exe| exe.ancestors().any(|folder| folder.join("CACHEDIR.TAG").exists()));
    if built { "cargo run -qr --bin daee-deploy --" } else { "daee-deploy" }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_broken_only_where_it_does_not_fit() {
        assert_eq!(pasted("daee-deploy --dir d", "status 1"), "  daee-deploy --dir d status 1");
        let long = "x".repeat(70);
        assert_eq!(pasted("daee-deploy", &long), format!("  daee-deploy \\\n    {long}"));
    }
}
