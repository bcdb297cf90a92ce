//! The contracts' own words, made from the committed artifacts at compile time. Nothing of this is public.

#![allow(missing_docs, clippy::too_many_arguments)]

use alloy::sol;

pub(crate) mod token {
    super::sol!(TalosToken, "contracts/artifacts/TalosToken.json");
    pub(crate) const ARTIFACT: &str = include_str!("../contracts/artifacts/TalosToken.json");
}
pub(crate) mod registry {
    super::sol!(NodeRegistry, "contracts/artifacts/NodeRegistry.json");
    pub(crate) const ARTIFACT: &str = include_str!("../contracts/artifacts/NodeRegistry.json");
}
pub(crate) mod manager {
    super::sol!(DaeeManager, "contracts/artifacts/DaeeManager.json");
    pub(crate) const ARTIFACT: &str = include_str!("../contracts/artifacts/DaeeManager.json");
}
pub(crate) mod outbox {
    super::sol!(DaeeOutbox, "contracts/artifacts/DaeeOutbox.json");
    pub(crate) const ARTIFACT: &str = include_str!("../contracts/artifacts/DaeeOutbox.json");
}
pub(crate) mod price_reader {
    super::sol!(PriceReader, "contracts/artifacts/PriceReader.json");
    pub(crate) const ARTIFACT: &str = include_str!("../contracts/artifacts/PriceReader.json");
}
