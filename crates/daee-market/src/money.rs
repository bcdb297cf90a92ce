use daee_types::{Rate, TokenAmount};

const DAY_SECONDS: u64 = 24 * 60 * 60;

/// What a node locks for a lease (MARKET rule 6): a day at the tenant's highest rate, so that a low bid
/// does not make a lease cheap to break. `None` if it does not fit.
pub fn bond(rate_max: Rate, bond_min: TokenAmount) -> Option<TokenAmount> {
    Some(rate_max.over_seconds(DAY_SECONDS)?.max(bond_min))
}

/// What is burned for an artifact of this size (MARKET rule 10). `None` if it does not fit.
pub fn deploy_fee(artifact_bytes: u32, fee_per_byte: TokenAmount) -> Option<TokenAmount> {
    fee_per_byte.0.checked_mul(artifact_bytes.into()).map(TokenAmount)
}

/// The least that a deployment brings: the fee, and `runway_seconds` at its highest rate.
/// `None` if it does not fit.
pub fn minimum_payment(
    artifact_bytes: u32,
    fee_per_byte: TokenAmount,
    rate_max: Rate,
    runway_seconds: u32,
) -> Option<TokenAmount> {
    deploy_fee(artifact_bytes, fee_per_byte)?
        .checked_add(rate_max.over_seconds(runway_seconds.into())?)
}

/// Whether an escrow lasts for `runway_seconds` at this rate: no bid is taken on one that does not, nor does
/// an update leave one behind.
pub fn affords(balance: TokenAmount, rate: Rate, runway_seconds: u32) -> bool {
    rate.over_seconds(runway_seconds.into()).is_some_and(|needed| balance >= needed)
}

/// What a settlement pays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// To the node's owner.
    pub amount: TokenAmount,
    /// The escrow is spent, and the lease ends.
    pub exhausted: bool,
}

/// What `unpaid_seconds` of credited time cost, out of what is left in escrow.
pub fn pay_due(rate: Rate, unpaid_seconds: u64, balance: TokenAmount) -> Due {
    // A product that does not fit is more than any escrow holds.
    let full = rate.over_seconds(unpaid_seconds).unwrap_or(TokenAmount(u128::MAX));
    Due { amount: full.min(balance), exhausted: full > TokenAmount::ZERO && full >= balance }
}

/// What an expired lease costs its node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Penalty {
    /// Taken from the bond; what is not the bounty is burned.
    pub cut: TokenAmount,
    /// Of the cut, to whoever noticed. Nothing for a lease that never started: a tenant could
    /// earn by being unstartable (MARKET rule 10).
    pub bounty: TokenAmount,
}

/// A tenth of the bond, and a tenth of that to who noticed; both rounded down.
pub fn expiry_penalty(bond: TokenAmount, started: bool) -> Penalty {
    let cut = TokenAmount(bond.0 / 10);
    Penalty { cut, bounty: if started { TokenAmount(cut.0 / 10) } else { TokenAmount::ZERO } }
}

/// What of a slashed bond goes to who reported two leaves for one place: a tenth, rounded down.
pub fn equivocation_reward(bond: TokenAmount) -> TokenAmount {
    TokenAmount(bond.0 / 10)
}
