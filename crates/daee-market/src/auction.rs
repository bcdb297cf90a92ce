use daee_types::{Coded, Fault, Rate, Timestamp};

const LATE_SECONDS_MAX: u64 = 60;

/// Why a bid is not the best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BidError {
    /// Above what the tenant pays, or zero.
    #[error("a rate of {rate} is not above zero and at most {maximum}")]
    OutOfRange {
        /// What was bid.
        rate: Rate,
        /// The tenant's maximum.
        maximum: Rate,
    },
    /// Not better than the standing bid by a hundredth.
    #[error("a rate of {rate} does not beat the standing bid: that takes {most} or less")]
    NotBetter {
        /// What was bid.
        rate: Rate,
        /// The highest that beats it.
        most: Rate,
    },
}

impl Coded for BidError {
    fn code(&self) -> &'static str {
        match self {
            BidError::OutOfRange { .. } => "DAEE-K001",
            BidError::NotBetter { .. } => "DAEE-K002",
        }
    }
    fn fault(&self) -> Fault {
        Fault::Node
    }
}

/// Whether a bid becomes the best: above zero, at most the tenant's maximum, and a hundredth below the
/// standing one, so that nobody wins by a wei.
pub fn check_bid(rate: Rate, rate_max: Rate, standing: Option<Rate>) -> Result<(), BidError> {
    if rate.0 == 0 || rate > rate_max {
        return Err(BidError::OutOfRange { rate, maximum: rate_max });
    }
    match standing {
        // In two parts, since 99 times a rate need not fit: the same as 99/100 rounded down.
        Some(Rate(best)) => {
            let most = Rate(best / 100 * 99 + best % 100 * 99 / 100);
            if rate > most { Err(BidError::NotBetter { rate, most }) } else { Ok(()) }
        }
        None => Ok(()),
    }
}

/// When bids close after one that came at block time `now`: a late one leaves the others a quarter of the
/// window, at most a minute, and never beyond the hard end.
pub fn bid_closes(
    now: Timestamp,
    closes: Timestamp,
    closes_hard: Timestamp,
    bid_window_seconds: u32,
) -> Timestamp {
    let answer_seconds = u64::from(bid_window_seconds / 4).min(LATE_SECONDS_MAX);
    let late = Timestamp::from_seconds(now.seconds() + answer_seconds);
    if late > closes { late.min(closes_hard) } else { closes }
}
