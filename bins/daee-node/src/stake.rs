//! `daee-node stake` and `unstake`: joining the network, and leaving it.

use std::{path::Path, process::ExitCode, sync::Arc};

use daee_chain::{Account, Chain, Registration, register_consent_digest};
use daee_client::NetworkFile;
use daee_signer::Key;
use daee_types::{ByteSize, MilliCpu, Resources, Sign as _};
use serde_json::{Value, json};

use crate::{
    arguments::{Stake, Unstake},
    failure::Failure,
};

pub async fn stake(arguments: Stake) -> Result<ExitCode, Failure> {
    let password_file = arguments.operator_password_file.as_deref();
    let operator = Key::unlock(&arguments.operator_key, password_file)?;
    let owner = Key::unlock(&arguments.owner_key, arguments.owner_password_file.as_deref())?;
    let (chain, owner) = connect(&arguments.network, owner).await?;
    let known = chain.node(operator.address()).await?;
    let mined = if known.is_some() {
        owner.stake(operator.address(), arguments.amount).await?
    } else {
        let capacity = Resources {
            cpu: MilliCpu(arguments.cpu_milli),
            memory: ByteSize::mib(arguments.memory_mib),
            gpu: 0,
        };
        register(&chain, &owner, &operator, capacity, &arguments).await?
    };
    let operator = operator.address();
    let text = format!("{} staked for node {operator}", arguments.amount);
    show(arguments.json, &text, json!({"operator": operator, "tx": mined.tx}));
    Ok(ExitCode::SUCCESS)
}

async fn register(
    chain: &Chain,
    owner: &Account,
    operator: &Key,
    capacity: Resources,
    arguments: &Stake,
) -> Result<daee_chain::Mined, Failure> {
    let digest = register_consent_digest(
        chain.contracts().registry,
        chain.domain().chain_id,
        operator.address(),
        owner.address(),
    );
    let registration = Registration {
        operator: operator.address(),
        capacity,
        anchor_interval_seconds: arguments.interval,
        endpoint: arguments.endpoint.clone(),
        stake: arguments.amount,
        consent: operator.sign(&digest)?,
    };
    Ok(owner.register(&registration).await?)
}

pub async fn unstake(arguments: Unstake) -> Result<ExitCode, Failure> {
    let owner = Key::unlock(&arguments.owner_key, arguments.owner_password_file.as_deref())?;
    let (chain, owner) = connect(&arguments.network, owner).await?;
    let operator = arguments.operator;
    let (text, mined) = match arguments.amount {
        Some(amount) => {
            let mined = owner.unstake(operator, amount).await?;
            let ready = chain.node(operator).await?.map(|node| node.unbond_at);
            let ready = ready.map_or_else(String::new, |at| format!(", ready at {}", at.seconds()));
            (format!("{amount} of node {operator} unbonds{ready}"), mined)
        }
        None => {
            let mined = owner.withdraw_stake(operator).await?;
            (format!("what had unbonded of node {operator} is withdrawn"), mined)
        }
    };
    show(arguments.json, &text, json!({"operator": operator, "tx": mined.tx}));
    Ok(ExitCode::SUCCESS)
}

async fn connect(network: &Path, owner: Key) -> Result<(Chain, Account), Failure> {
    let network = NetworkFile::load(network)?;
    let chain = Chain::connect(&network.rpc, network.contracts).await?;
    let owner = chain.account(Arc::new(owner));
    Ok((chain, owner))
}

fn show(json: bool, text: &str, value: Value) {
    if json {
        println!("{value}");
    } else {
        println!("{text}");
    }
}
