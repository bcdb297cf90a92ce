use daee_chain::Phase as MarketPhase;
use daee_client::talos_per_hour;
use daee_lifecycle::{LogQuery, Phase};
use daee_types::{Address, DeploymentId};
use serde_json::json;

use crate::{
    access::Access,
    failure::Failure,
    show::{Out, market_phase},
};

/// 1 where the agent cannot run.
pub async fn status(out: &Out, access: &Access, id: DeploymentId) -> Result<u8, Failure> {
    let standing = access.market().await?.standing(id).await?;
    out.result(&standing, |text| text.standing(&standing))?;
    Ok(u8::from(standing.status.phase == Phase::Error))
}

pub async fn logs(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    after: Option<u64>,
    limit: u32,
) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    let lines = deployer.logs(id, LogQuery { after, limit, follow: false }).await?;
    let last = lines.last().map(|line| line.seq).or(after);
    // `after` continues behind what was shown.
    let shown = json!({"deployment": id, "lines": lines, "after": last});
    out.result(&shown, |text| lines.iter().try_for_each(|line| text.log(line)))?;
    Ok(0)
}

pub async fn follow(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    after: Option<u64>,
) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    let mut log = deployer.follow(id, after);
    while let Some(line) = log.next().await? {
        out.result(&line, |text| text.log(&line))?;
    }
    out.progress("over", &format!("deployment {id} has ended"));
    Ok(0)
}

pub async fn list(
    out: &Out,
    access: &Access,
    owner: Option<Address>,
    all: bool,
    closed: bool,
) -> Result<u8, Failure> {
    let of = match (all, owner) {
        (true, _) => None,
        (false, Some(owner)) => Some(owner),
        (false, None) => {
            let wallet = access.wallet()?.ok_or_else(|| {
                Failure::usage(
                    "whose deployments? give `--key FILE`, `--dir DIR`, `--owner ADDRESS` or `--all`",
                )
            })?;
            Some(wallet.address())
        }
    };
    let mut listed = access.market().await?.deployments(of).await?;
    listed.retain(|deployment| closed || deployment.phase != MarketPhase::Closed);
    let shown = json!({"deployments": listed});
    out.result(&shown, |text| {
        if listed.is_empty() {
            return text.line("none");
        }
        text.line(&format!(
            "{:>6}  {:<8}  {:<40}  {:>16}  {}",
            "ID", "PHASE", "AGENT", "RATE", "LEFT"
        ))?;
        for deployment in &listed {
            text.line(&format!(
                "{:>6}  {:<8}  {:<40}  {:>16}  {}",
                deployment.id.0,
                market_phase(deployment.phase),
                deployment.agent_id,
                talos_per_hour(deployment.lease.rate),
                deployment.balance,
            ))?;
        }
        Ok(())
    })?;
    Ok(0)
}
