use std::sync::Arc;

use alloy::{
    primitives::{B256, U256},
    sol_types::SolValue as _,
};
use daee_types::{Address, DeploymentId, Sign, Word};

use crate::{
    Chain, ChainError,
    abi::price_reader::{
        ARTIFACT,
        PriceReader::{constructorCall, priceCall},
    },
    convert,
    network::Deployer,
};

/// The example of a contract that reads what an agent published (`contracts/src/examples`): how other contracts
/// see a price, and how old they let it be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PriceReader {
    address: Address,
}

impl PriceReader {
    /// Deploys one for a topic of a deployment; it returns no price that is older than `age_max_seconds`.
    pub async fn deploy(
        rpc: &str,
        deployer: Arc<dyn Sign>,
        outbox: Address,
        id: DeploymentId,
        topic: Word,
        age_max_seconds: u64,
    ) -> Result<Self, ChainError> {
        let with = constructorCall {
            outbox_: convert::to_address(outbox),
            deployment_: convert::to_id(id),
            topic_: B256::from(topic),
            ageMax_: U256::from(age_max_seconds),
        };
        let arguments =
            (with.outbox_, with.deployment_, with.topic_, with.ageMax_).abi_encode_params();
        let work = Deployer::new(rpc, deployer).await?;
        let (address, _) = work.create("price reader", ARTIFACT, arguments).await?;
        Ok(Self { address: convert::address(address) })
    }

    /// Where it is.
    pub fn address(&self) -> Address {
        self.address
    }

    /// The price in the agent's decimals, as a contract reads it: a big-endian word. The contract refuses a
    /// price that was never published, is too old or is no word.
    pub async fn price(&self, chain: &Chain) -> Result<Word, ChainError> {
        let found = chain.call(self.address, &priceCall {}, "a published price").await?;
        Ok(found.to_be_bytes())
    }
}
