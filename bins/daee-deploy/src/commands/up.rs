use std::{path::Path, time::Duration};

use daee_client::{Package, Updated, Windows};
use daee_types::{ByteSize, DeploymentId};
use serde::Serialize;
use serde_json::json;

use crate::{
    access::Access,
    arguments::Price,
    commands::package::{Facts, TakenShown, hand_out},
    failure::Failure,
    show::Out,
};

pub async fn up(
    out: &Out,
    access: &Access,
    path: &Path,
    price: &Price,
    nodes: &[String],
    wait: Option<u64>,
) -> Result<u8, Failure> {
    #[derive(Serialize)]
    struct Shown {
        deployment: DeploymentId,
        tx: String,
        #[serde(flatten)]
        facts: Facts,
        #[serde(flatten)]
        taken: TakenShown,
        paid_in: daee_types::TokenAmount,
        rate_max: daee_types::Rate,
        endpoint: String,
        /// `null` if nobody waited for it.
        status: Option<daee_lifecycle::Status>,
    }
    let package = read(out, path)?;
    let deployer = access.deployer().await?;
    let market = deployer.market();
    let offer = price.offer(market.file().windows);
    // Before anything is handed out: what cannot be paid for need not be published.
    deployer.afford(&package, &offer).await?;
    let taken = hand_out(out, market, &package, nodes).await?;
    let deployed = deployer.deploy(&package, &offer).await?;
    let id = deployed.id;
    out.progress("deployed", &format!("#{id} in {}, paid in {}", deployed.mined.tx, offer.payment));

    let bound = wait.map_or(until_running(&offer.windows), Duration::from_secs);
    let status = match bound.is_zero() {
        true => None,
        false => {
            let running = market.wait_running(id, bound, &mut |stage| out.stage(stage)).await;
            Some(running.map_err(|error| Failure::from(error).about(id))?)
        }
    };
    let agent_id = package.manifest().agent_id().to_string();
    let said = status.as_ref().and_then(|status| status.endpoint.clone());
    let shown = Shown {
        deployment: id,
        tx: deployed.mined.tx.to_string(),
        facts: Facts::of(package.parcel()),
        taken: TakenShown::of(&taken),
        paid_in: offer.payment,
        rate_max: offer.rate_max,
        endpoint: said.unwrap_or_else(|| market.file().endpoint(&agent_id, id)),
        status,
    };
    out.result(&shown, |text| {
        text.line(&shown.endpoint)?;
        text.line(&format!("curl {}", shown.endpoint))
    })?;
    Ok(0)
}

pub async fn update(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    path: &Path,
    nodes: &[String],
    wait: Option<u64>,
) -> Result<u8, Failure> {
    let package = read(out, path)?;
    let deployer = access.deployer().await?;
    let market = deployer.market();
    deployer.may_update(id, &package).await?;
    hand_out(out, market, &package, nodes).await?;
    let proposed = deployer.update(id, &package).await?;
    let (version, tx) = (proposed.version, proposed.mined.tx);
    out.progress("proposed", &format!("version {version} in {tx}"));

    let start = market.deployment(id).await?.terms.start_window;
    let bound = wait.map_or(Duration::from_secs(u64::from(start) + 15), Duration::from_secs);
    let facts = Facts::of(package.parcel());
    if bound.is_zero() {
        let shown = json!({"deployment": id, "version": version, "tx": tx, "facts": facts});
        out.result(&shown, |text| text.line(&format!("version {version} waits for its node")))?;
        return Ok(0);
    }
    let updated = deployer.wait_updated(id, version, bound, &mut |stage| out.stage(stage)).await;
    let updated = updated.map_err(|error| Failure::from(error).about(id))?;
    let mut shown = json!({"deployment": id, "tx": tx, "facts": facts});
    shown["update"] = serde_json::to_value(&updated).expect("plain values have a JSON form");
    out.result(&shown, |text| match &updated {
        Updated::Switched { version } => text.good(&format!("version {version} runs")),
        Updated::Left { version, reason } => {
            text.line(&format!("left as it was, version {version} runs on: {reason}"))
        }
        Updated::Relisted { version } => {
            text.line(&format!("version {version} is out for bids: no node runs it now"))
        }
    })?;
    Ok(match updated {
        Updated::Switched { .. } | Updated::Relisted { .. } => 0,
        Updated::Left { .. } => 1,
    })
}

fn read(out: &Out, path: &Path) -> Result<Package, Failure> {
    let package = Package::read(path)?;
    let manifest = package.manifest();
    let size = ByteSize(package.artifact_bytes().into());
    let hash = package.artifact().hash();
    out.progress("packed", &format!("{}, {size}, artifact {hash}", manifest.agent_id()));
    Ok(package)
}

/// Bids may extend their window up to twice; then a node has its start window.
fn until_running(windows: &Windows) -> Duration {
    Duration::from_secs(2 * u64::from(windows.bid) + u64::from(windows.start) + 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_waits_as_long_as_the_market_may_take() {
        let windows = Windows { bid: 10, start: 60, ..Windows::default() };
        assert_eq!(until_running(&windows), Duration::from_secs(95));
    }
}
