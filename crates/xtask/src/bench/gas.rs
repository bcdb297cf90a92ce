use std::path::Path;

use serde_json::Value;

use super::Report;
use crate::contracts;
use crate::failure::Failure;
use crate::run::Run;

/// The calls that somebody pays for, in the order in which a deployment sees them.
const CALLS: &[(&str, &[&str])] = &[
    ("NodeRegistry", &["register", "stake", "unstake"]),
    (
        "DaeeManager",
        &[
            "deploy",
            "bid",
            "assign",
            "anchor",
            "open",
            "settle",
            "topUp",
            "update",
            "refuseUpdate",
            "stop",
            "finish",
            "expire",
            "withdraw",
        ],
    ),
    ("DaeeOutbox", &["publish"]),
];

/// What each call of the contracts costs at most over forge's tests, each in a transaction of its own. A
/// median would count the calls that tests expect to fail.
pub fn run(repo: &Path) -> Result<Report, Failure> {
    let foundry = contracts::install(repo)?;
    let args = ["test", "--isolate", "--gas-report", "--json"];
    let out = Run::new(&foundry.forge).dir(&foundry.folder).args(args).text()?;
    let contracts = out.lines().rev().find_map(|line| serde_json::from_str(line).ok());
    let mut report = Report::new("gas");
    for (contract, calls) in CALLS {
        for call in *calls {
            if let Some(gas) = most(contracts.as_ref().unwrap_or(&Value::Null), contract, call) {
                report.figure(format!("{contract}.{call}"), gas, "gas");
            }
        }
    }
    if report.is_empty() {
        return Err(Failure::new(
            "forge measured no call of ours",
            "cargo xtask contracts --check",
        ));
    }
    Ok(report)
}

/// From `[{"contract": "src/DaeeManager.sol:DaeeManager", "functions": {"bid(uint256,uint128)": {"max": 1}}}]`.
fn most(contracts: &Value, contract: &str, call: &str) -> Option<f64> {
    let suffix = format!(":{contract}");
    let named =
        |entry: &&Value| entry["contract"].as_str().is_some_and(|name| name.ends_with(&suffix));
    let functions = contracts.as_array()?.iter().find(named)?["functions"].as_object()?;
    let (_, figures) = functions.iter().find(|(name, _)| name.split('(').next() == Some(call))?;
    figures["max"].as_f64()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_found_by_its_contract_and_its_whole_name() {
        let contracts = json!([
            {"contract": "test/T.sol:T", "functions": {"bid(uint256)": {"max": 1}}},
            {"contract": "src/M.sol:M", "functions": {"bidders()": {"max": 2}, "bid(uint256)": {"max": 3}}},
        ]);
        assert_eq!(most(&contracts, "M", "bid"), Some(3.0));
        assert_eq!(most(&contracts, "M", "bidder"), None);
        assert_eq!(most(&contracts, "N", "bid"), None);
        assert_eq!(most(&Value::Null, "M", "bid"), None);
    }
}
