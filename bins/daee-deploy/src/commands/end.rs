use std::time::Duration;

use daee_chain::Phase;
use daee_types::{Address, DeploymentId, TokenAmount};
use serde_json::json;

use crate::{
    access::Access,
    failure::Failure,
    show::{Out, lasting},
};

pub async fn stop(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    wait: Option<u64>,
) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    let stopping = deployer.stop(id).await?;
    let tx = stopping.mined.map(|mined| mined.tx);
    match tx {
        Some(tx) => out.progress("stopped", &format!("#{id} in {tx}: nothing more is paid for")),
        None if stopping.before.phase == Phase::Closed => {
            out.progress("stopped", &format!("#{id} before"));
        }
        None => out.progress("stopping", &format!("#{id} is ending already")),
    }
    let window = u64::from(stopping.before.terms.open_window) + 15;
    let bound = Duration::from_secs(wait.unwrap_or(window));
    if bound.is_zero() {
        let shown = json!({"deployment": id, "tx": tx});
        out.result(&shown, |text| text.line(&format!("deployment {id} is ending")))?;
        return Ok(0);
    }
    let stopped = deployer.wait_stopped(&stopping, bound, &mut |stage| out.stage(stage)).await?;
    let mut shown = serde_json::to_value(stopped).expect("plain values have a JSON form");
    shown["tx"] = json!(tx);
    out.result(&shown, |text| {
        text.fact("deployment", id)?;
        text.fact("phase", "stopped")?;
        text.fact("paid", stopped.paid)?;
        text.fact(
            "refunded",
            format!("{}: `daee-deploy withdraw` takes it out", stopped.refunded),
        )?;
        if stopped.state_root.is_zero() {
            return Ok(());
        }
        let kept = if stopped.final_checkpoint { "the final checkpoint" } else { "last opened" };
        text.fact("state", format!("{} ({kept})", stopped.state_root))
    })?;
    Ok(0)
}

pub async fn top_up(
    out: &Out,
    access: &Access,
    id: DeploymentId,
    amount: TokenAmount,
) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    let mined = deployer.top_up(id, amount).await?;
    let now = deployer.market().deployment(id).await?;
    let shown = json!({
        "deployment": id, "tx": mined.tx, "amount": amount, "balance": now.balance,
    });
    out.result(&shown, |text| {
        text.fact("deployment", id)?;
        text.fact("paid in", amount)?;
        text.fact("left", lasting(now.balance, now.lease.rate))
    })?;
    Ok(0)
}

pub async fn withdraw(out: &Out, access: &Access, to: Option<Address>) -> Result<u8, Failure> {
    let deployer = access.deployer().await?;
    let (amount, mined) = deployer.withdraw(to).await?;
    let to = to.unwrap_or_else(|| deployer.address());
    let shown = json!({"amount": amount, "to": to, "tx": mined.tx});
    out.result(&shown, |text| {
        text.fact("withdrawn", amount)?;
        text.fact("to", to)
    })?;
    Ok(0)
}
