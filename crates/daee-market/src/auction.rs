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

/// How much later bids close after one that came at block time `now`, in seconds: a late one leaves the others
/// a quarter of the window, at most a minute; all late bids of a window together extend it at most once over.
pub fn late_bid_seconds(
    now: Timestamp,
    closes: Timestamp,
    extended_seconds: u64,
    bid_window_seconds: u32,
) -> u64 {
    let answer_seconds = u64::from(bid_window_seconds / 4).min(LATE_SECONDS_MAX);
    let late = (now.seconds() + answer_seconds).saturating_sub(closes.seconds());
    late.min(u64::from(bid_window_seconds).saturating_sub(extended_seconds))
}
